"""What rows cost beside each other: CPU per session-second, ratios with their spread, and what one factor costs.

Pure: points in, numbers out. Ratios are taken round by round, so that drift hits both sides; never from two medians.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import median
from typing import Any, TypeVar

from experiment.store import Point
from experiment.terms import Bracket

K = TypeVar("K")
FACTORS: dict[str, tuple[str, ...]] = {
    "transport to the inference server": ("transport",),
    "interpreter build": ("interpreter",),
    "event loop": ("loop",),
    "server stack": ("module", "server", "environment", "command"),
    "runtime: loops, threads and processes": ("loops", "runtime", "runtime_threads", "task_impl"),
    "how often sockets are looked at": ("look_interval_ms",),
}
"""A factor and the keys of a row that it covers; a key that one of two rows lacks is not a difference."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one quantity."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None without a value."""
        return cls(median(values), min(values), max(values), len(values)) if values else None

    def text(self, digits: int) -> str:
        """Median, and the range in brackets; of a single value there is none."""
        if self.count == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f}, n={self.count})"


def by_round(points: Sequence[Point], sessions: int, *, all_in: bool = False) -> dict[str, float]:
    """µs per session-second of the valid listed points with so many sessions, by slot."""
    return {
        point.purpose: cost
        for point in points
        if point.sessions == sessions and point.status != "INVALID" and point.is_listed
        if (cost := point.all_in_us if all_in else point.cost_us) is not None
    }


def common_sessions(rows: Sequence[tuple[Sequence[Point], int]]) -> int | None:
    """The largest number of sessions for each thread that every row has valid listed points for; rows without any are
    left out. `rows`: points, and threads of a shape that gives each its own (1 in any other)."""
    measured = [
        {point.sessions // threads for point in points if point.status != "INVALID" and point.is_listed}
        for points, threads in rows
    ]
    shared = set.intersection(*filled) if (filled := [numbers for numbers in measured if numbers]) else set()
    return max(shared, default=None)


def paired(values: Mapping[K, float], base: Mapping[K, float]) -> list[float]:
    """Ratios to the base, round by round; a round that one of them lacks is left out."""
    return [values[slot] / base[slot] for slot in base if slot in values and base[slot]]


def unpaired(values: Mapping[str, float], base: Mapping[str, float]) -> list[float]:
    """Ratios of every value to every value of the base: for runs that were not interleaved."""
    return [value / against for value, against in product(values.values(), base.values()) if against]


def carried(bracket: Bracket | None, base: Bracket | None) -> tuple[float, float] | None:
    """The interval of the ratio of two ceilings, from their brackets: a ceiling lies in [passed, failed).

    None where an end of a bracket is not known.
    """
    if bracket is None or base is None or not base.passed or bracket.passed is None:
        return None
    if bracket.failed is None or base.failed is None:
        return None
    return bracket.passed / base.failed, bracket.failed / base.passed


def factor(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str | None:
    """The one factor in which two rows' facts differ; None if they differ in none, or in more."""
    same_shape = mine["shape"] == theirs["shape"]
    one, other = (_effective(facts) if same_shape else facts["variant"] for facts in (mine, theirs))
    differ = [
        name
        for name, keys in FACTORS.items()
        if any(
            one.get(key) != other.get(key) for key in keys if one.get(key) is not None and other.get(key) is not None
        )
    ]
    if not same_shape:
        differ.append(f"shape {mine['shape']['name']} → {theirs['shape']['name']}")
    return differ[0] if len(differ) == 1 else None


def neighbours(rows: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Pairs of rows (in their order) that differ in one factor, with its name. Of rows that are the same at their shape
    (`multiprocess` with one vCPU is `gil`) only the first is paired with others."""
    distinct = [
        name
        for place, name in enumerate(rows)
        if not any(_same(rows[name], rows[earlier]) for earlier in list(rows)[:place])
    ]
    pairs = combinations(distinct, 2)
    return [(one, other, name) for one, other in pairs if (name := factor(rows[one], rows[other])) is not None]


def _same(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two rows are one at their shape, but for what they are called."""
    said = ("name", "about")
    one, other = ({k: v for k, v in _effective(facts).items() if k not in said} for facts in (mine, theirs))
    return bool(mine["shape"] == theirs["shape"]) and one == other


def _effective(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A row's factors at its shape: "vcpus" loops are a number there."""
    variant = dict(facts["variant"])
    if variant.get("loops") == "vcpus":
        variant["loops"] = facts["shape"].get("threads") or max(1, math.ceil(facts["shape"].get("vcpus", 1)))
    return variant
