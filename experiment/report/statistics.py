"""What a count of failures can say: the rate's exact interval, and whether it can resolve the limit. Pure.

It is printed beside the verdict and never changes it.
"""

import math
from dataclasses import dataclass

from experiment.store import Load

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Rate:
    """`failures` of `trials`, with the two-sided 95 % Clopper–Pearson interval of the rate."""

    failures: int
    trials: int
    low: float
    high: float
    limit: float

    @property
    def resolves(self) -> bool:
        """Whether so many trials can show that the rate keeps the limit at all: with no failure, by the 95 % limit."""
        return self.trials >= trials_needed(self.limit)

    def __str__(self) -> str:
        text = f"{self.failures}/{self.trials}: {per_100k(self.low)}–{per_100k(self.high)} in 100 000"
        if self.resolves:
            return text
        return f"{text}; too few to resolve {per_100k(self.limit)} (needs {trials_needed(self.limit)})"


def rate(failures: int, partials: int, limit: float) -> Rate | None:
    """The rate failures ÷ (partials + failures); None without a trial.

    Clopper–Pearson: the low end is the α/2 quantile of Beta(k, n − k + 1), the high end the 1 − α/2 quantile of
    Beta(k + 1, n − k), for k failures of n trials (Biometrika 26, 1934).
    """
    from scipy.special import betaincinv  # slow to import, and most verbs need no interval

    trials = partials + failures
    if trials <= 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if failures == 0 else float(betaincinv(failures, trials - failures + 1, tail))
    high = 1.0 if failures == trials else float(betaincinv(failures + 1, trials - failures, 1 - tail))
    return Rate(failures, trials, low, high, limit)


def failure_rate(load: Load, limit: float) -> Rate | None:
    """The rate of a point's load; None where it was not counted."""
    if load.partials is None or load.failures_total is None:
        return None
    return rate(load.failures_total, load.partials, limit)


def trials_needed(limit: float) -> int:
    """The fewest trials without a failure whose one-sided 95 % upper limit is `limit`: (1 − limit)^n ≤ 0.05."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-limit))


def per_100k(share: float) -> str:
    """A share as so many in 100 000, short."""
    return f"{share * 1e5:.0f}" if share >= 1e-3 else f"{share * 1e5:.3g}"
