"""What a point and a search come to: status, gate, bracket. Every room speaks of them; nothing is imported."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["PASS", "FAIL", "INVALID"]

GATES = {
    "newest_p50_ms": ("newest p50", "ms"),
    "newest_p95_ms": ("newest p95", "ms"),
    "oldest_p50_ms": ("oldest p50", "ms"),
    "oldest_p95_ms": ("oldest p95", "ms"),
    "failure_ratio": ("failure ratio", ""),
    "send_lateness_p99_ms": ("send lateness p99", "ms"),
    "simulator_overshoot_p99_ms": ("simulator overshoot p99", "ms"),
}
"""Every gate by its key, which is that of its limit in experiments.toml: its name for a person, and its unit."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One limit and what was measured against it; `measured` is None where nothing was, which never passes."""

    key: str
    limit: float
    measured: float | None

    @property
    def passed(self) -> bool:
        """Whether the quantity was measured and keeps the limit."""
        return self.measured is not None and self.measured <= self.limit

    def __str__(self) -> str:
        name, unit = GATES[self.key]
        limit = f"{self.limit:g} {unit}".rstrip()
        if self.measured is None:
            return f"{name} not measured, limit {limit}"
        return f"{name} {self.measured:.4g} {'≤' if self.passed else '>'} {limit}"


@dataclass(frozen=True, slots=True)
class Tried:
    """One point of a search."""

    sessions: int
    status: Status


@dataclass(frozen=True, slots=True)
class Bracket:
    """What is known of the ceiling; None where no point says it."""

    passed: int | None
    """The highest number of sessions below `failed` that passed and never failed."""
    failed: int | None
    """The lowest number of sessions that failed and never passed."""
    confirmed: bool = False
    """`passed` passed twice."""
    solid: bool = False
    """`failed` failed twice."""
    borderline: tuple[int, ...] = ()
    """Between the two: what passed once and failed once."""
    harness_ends: int | None = None
    """Where the harness fell behind, and again when the point was repeated; None where `failed` lies below."""

    def __str__(self) -> str:
        low = "no pass" if self.passed is None else f"{'confirmed' if self.confirmed else 'passes'} {self.passed}"
        high = "no fail" if self.failed is None else f"{'solid fail' if self.solid else 'fails'} {self.failed}"
        between = [f"borderline {'–'.join(str(n) for n in _ends(self.borderline))}"] if self.borderline else []
        ends = [] if self.harness_ends is None else [f"harness ends at {self.harness_ends} sessions on this machine"]
        return " ↔ ".join([low, *between, *([] if ends and self.failed is None else [high])]) + "".join(
            f" ({text})" for text in ends
        )


def _ends(numbers: Sequence[int]) -> list[int]:
    return sorted({numbers[0], numbers[-1]})
