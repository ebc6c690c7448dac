"""Sequential probability ratio tests (A. Wald, 1945): as few observations as a decision of known error takes. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

Decision = Literal["changed", "unchanged"]
"""changed: as the alternative says (it stalls; it is dearer). unchanged: as the null hypothesis says."""


def _decided(log_ratio: float, error: float) -> Decision | None:
    """Wald's limits, the two errors being alike: ± ln((1 − error) ÷ error)."""
    limit = math.log((1 - error) / error)
    if log_ratio >= limit:
        return "changed"
    return "unchanged" if log_ratio <= -limit else None


@dataclass(frozen=True, slots=True)
class StallTest:
    """Events of a Poisson process: does it stall at `stalling` per frame or more, or at `sound` or less?"""

    stalling: float
    sound: float
    error: float
    """The probability of either wrong decision, where the rate is as one of the two says."""

    def log_ratio(self, stalls: int, frames: int) -> float:
        """Of the likelihoods: stalls · ln(stalling ÷ sound) − frames · (stalling − sound)."""
        return stalls * math.log(self.stalling / self.sound) - frames * (self.stalling - self.sound)

    def decide(self, stalls: int, frames: int) -> Decision | None:
        """None: go on."""
        return _decided(self.log_ratio(stalls, frames), self.error)

    @property
    def frames_if_sound(self) -> float:
        """Without a single stall, so many frames decide it."""
        return math.log((1 - self.error) / self.error) / (self.stalling - self.sound)


@dataclass(frozen=True, slots=True)
class CostTest:
    """Logarithms of paired cost ratios: is the ratio `ratio` or 1? `ratio` may lie below 1.

    Their spread is not known beforehand: the sample's stands for it, not less than `least_spread`, from `least_pairs`
    on. The errors are therefore about those stated, and not exactly.
    """

    ratio: float
    error: float
    least_spread: float
    least_pairs: int

    def decide(self, ratios: Sequence[float]) -> Decision | None:
        """None: go on."""
        if len(ratios) < max(2, self.least_pairs):
            return None
        logs, shift = [math.log(each) for each in ratios], math.log(self.ratio)
        spread = max(self.least_spread, stdev(logs))
        return _decided(len(logs) * shift * (fmean(logs) - shift / 2) / spread**2, self.error)
