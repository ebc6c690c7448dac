"""When something is due, to a grain: what falls due in the same few milliseconds is served together; and deadlines, of
which most do not come true. No clock here."""

from collections import deque
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar

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


class Deadlines:
    """Things that share one time limit, in the order in which they began: which is the order in which they run out."""

    __slots__ = ("_entries", "_limit_s")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._entries: deque[tuple[float, Any]] = deque()

    def add(self, now_s: float, item: Any) -> None:
        """Begin `item`'s limit; once its `done` is true it is dropped unseen."""
        self._entries.append((now_s + self._limit_s, item))

    def next_s(self) -> float | None:
        """The earliest deadline of what is not done."""
        entries = self._entries
        while entries and entries[0][1].done:
            entries.popleft()
        return entries[0][0] if entries else None

    def take_expired(self, now_s: float) -> list[Any]:
        """Remove and return what ran out by `now_s` without being done."""
        expired = []
        while (next_s := self.next_s()) is not None and next_s <= now_s:
            expired.append(self._entries.popleft()[1])
        return expired
