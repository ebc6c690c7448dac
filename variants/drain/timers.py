"""When something is due, to a grain: what falls due in the same few milliseconds is served together. No clock here."""

from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

GRAIN_S = 0.005
"""Nothing is served early, and nothing is late by more than this for the sake of company."""


class Timers(Generic[T]):
    """Items by the grain of time in which they are due: a heap of grains, so that its cost is per grain, not per item.

    There is no cancelling: an item that is of no use any more is ignored by whoever gets it.
    """

    def __init__(self) -> None:
        self._grains: dict[int, list[T]] = {}
        self._order: list[int] = []

    def add(self, due_s: float, item: T) -> None:
        """Have `item` served at the first grain that begins at `due_s` or later."""
        grain = -int(-due_s // GRAIN_S)
        items = self._grains.get(grain)
        if items is None:
            self._grains[grain] = [item]
            heappush(self._order, grain)
        else:
            items.append(item)

    @property
    def next_s(self) -> float | None:
        """When the next items are due; None where there are none."""
        return self._order[0] * GRAIN_S if self._order else None

    def take_due(self, now_s: float) -> list[T]:
        """Remove and return what is due by `now_s`, earliest grain first."""
        due: list[T] = []
        while self._order and self._order[0] * GRAIN_S <= now_s:
            due += self._grains.pop(heappop(self._order))
        return due
