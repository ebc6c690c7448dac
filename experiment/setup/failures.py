"""How set-up says no: each attempt with its outcome and duration, then ways out.

Nothing here tries anything.
"""

from dataclasses import dataclass


class Unavailable(Exception):
    """One attempt came to nothing. The message is one line and says why."""


@dataclass(frozen=True)
class Attempt:
    """One thing that was tried and did not work; `took_s` is None where it was skipped."""

    what: str
    outcome: str
    took_s: float | None

    def __str__(self) -> str:
        took = "skipped" if self.took_s is None else f"{self.took_s:.1f} s"
        return f"{self.what} ({took}): {self.outcome}"


class SetupError(Exception):
    """Set-up failed.

    `reason` is short and fits on an EXIT line; `str()` adds what was tried and the ways out, a line each.
    """

    def __init__(self, reason: str, *, tried: tuple[Attempt, ...] = (), ways_out: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tried = tried
        self.ways_out = ways_out

    def __str__(self) -> str:
        lines = [self.reason]
        if self.tried:
            lines += ["tried:", *(f"  - {attempt}" for attempt in self.tried)]
        if self.ways_out:
            lines += ["ways out:", *(f"  {number}. {way}" for number, way in enumerate(self.ways_out, 1))]
        return "\n".join(lines)


class NotOnInterpreter(SetupError):
    """The interpreter is there, but a package has no wheel for it; `reason` begins "gil is not on 3.13t"."""
