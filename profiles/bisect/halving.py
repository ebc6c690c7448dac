"""Which candidate to decide next, and between which two neighbours it changed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from profiles.bisect.sequential import Decision


@dataclass(frozen=True, slots=True)
class Change:
    """It changed between two neighbours in the list of candidates."""

    before: str
    after: str


class Nothing(LookupError):
    """There is no change to be found: says why."""


def following(candidates: list[str], known: Mapping[str, Decision | None]) -> str | Change:
    """The candidate that is to be decided next: both ends first, then always the middle of what is left.

    Args:
        candidates: in order, at least two.
        known: what has been decided; None for one that gave no decision, or could not run: its neighbours are asked.

    Raises:
        Nothing: the ends are alike, or one gave no decision.
    """
    first, last = candidates[0], candidates[-1]
    for end in (first, last):
        if end not in known:
            return end
        if known[end] is None:
            raise Nothing(f"{end} gave no decision, and it is one of the two ends")
    if known[first] == known[last]:
        raise Nothing(f"{first} and {last} are alike: {known[first]}")
    low, high = 0, len(candidates) - 1
    while True:
        between = [place for place in range(low + 1, high) if known.get(candidates[place], "open") is not None]
        if not between:
            return Change(candidates[low], candidates[high])
        middle = between[(len(between) - 1) // 2]
        decision = known.get(candidates[middle])
        if decision is None:
            return candidates[middle]
        if decision == known[first]:
            low = middle
        else:
            high = middle


def decisions(candidates: int) -> int:
    """How many are to be expected, both ends included."""
    return 2 + max(0, (candidates - 2).bit_length())
