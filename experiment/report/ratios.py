"""Ratios of costs that were measured in the same round, with their interval. Values in, values out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

from scipy.stats import t as student

from experiment.report.costs import paired

K = TypeVar("K")
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """The geometric mean of paired ratios, and the 95 % interval of it by Student's t of their logarithms."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def is_told(self) -> bool:
        """Whether the interval leaves out 1."""
        return not self.low <= 1.0 <= self.high

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}–{self.high:.3f}, n={self.count})"


def ratio(values: Mapping[K, float], base: Mapping[K, float]) -> Ratio | None:
    """Of values and a base by round; None with fewer than two rounds that both have."""
    logs = [math.log(each) for each in paired(values, base)]
    if len(logs) < 2:
        return None
    mean = fmean(logs)
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs))
