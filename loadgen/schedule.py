"""When everything happens: session starts, phases, and the due time of every frame.

Pure arithmetic on seconds since the run's t0. No clock, socket or audio belongs here.
"""

import math
from dataclasses import dataclass
from typing import Any

FRAME_INTERVAL_S = 0.020
SLOT_S = 0.001
SLOTS_PER_FRAME = 20  # FRAME_INTERVAL_S / SLOT_S

_GOLDEN_FRACTION = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Timing:
    """The four stretches of a run, in seconds (PROTOCOL, section 3). Raises ValueError for one that cannot be run."""

    ramp_s: float
    spread_s: float
    warmup_s: float
    measure_s: float

    def __post_init__(self) -> None:
        for name in ("ramp_s", "spread_s", "warmup_s", "measure_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: expected a finite number of seconds ≥ 0, got {value}")
        if self.measure_s <= 0:
            raise ValueError(f"measure_s: expected more than 0 s, got {self.measure_s}")

    @property
    def ramp_end_s(self) -> float:
        return self.ramp_s + self.spread_s

    @property
    def measure_start_s(self) -> float:
        return self.ramp_end_s + self.warmup_s

    @property
    def end_s(self) -> float:
        """End of `measure`: no frame is due at or after it."""
        return self.measure_start_s + self.measure_s

    def phases(self) -> list[tuple[str, float]]:
        """Each phase that the clock begins, with its first moment."""
        return [
            ("ramp", 0.0),
            ("warmup", self.ramp_end_s),
            ("measure", self.measure_start_s),
            ("drain", self.end_s),
        ]

    def measures(self, at_s: Any) -> Any:
        """Whether `at_s` (a moment, or an array of them) lies in the measured window [measure_start_s, end_s)."""
        return (at_s >= self.measure_start_s) & (at_s < self.end_s)


def start_offsets_s(timing: Timing, sessions: int) -> list[float]:
    """Seconds after t0 at which session 0, 1, … begins to connect, even over ramp and spread.

    Evenness holds to within one frame interval. Inside its interval each start takes a step of the golden-ratio
    sequence, so the sessions' frames are even over the 20 ms too: with plain even steps, 1550 sessions over 31 s would
    be exactly 20 ms apart, and every frame of every session would be due in the same millisecond.
    """
    step_s = timing.ramp_end_s / sessions
    offsets = []
    for session in range(sessions):
        interval = math.floor(session * step_s / FRAME_INTERVAL_S)
        phase = (session * _GOLDEN_FRACTION) % 1.0
        offsets.append(min((interval + phase) * FRAME_INTERVAL_S, timing.ramp_end_s))
    return offsets


def due_s(start_s: float, frame: int) -> float:
    """Due time of `frame` (numbered from 1) of a session whose start message was written at `start_s`."""
    return start_s + (frame - 1) * FRAME_INTERVAL_S


def slot_of(at_s: float) -> int:
    """The first 1 ms slot that begins at or after `at_s`: a frame goes out in it, never before it is due."""
    return math.ceil(at_s / SLOT_S)
