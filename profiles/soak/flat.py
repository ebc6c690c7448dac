"""Does a quantity stay where it was? Pure: series in, values and words out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FLAT_SHARE = 0.02
"""A last third whose median is within this share of the first one's is flat."""
LEAST_READINGS = 9


@dataclass(frozen=True, slots=True)
class Drift:
    """Of one quantity over the measured window: medians of its first and last third, and its slope per hour by Theil
    and Sen (the median of the slopes between all pairs), with its 95 % interval."""

    name: str
    unit: str
    first: float
    last: float
    per_hour: float
    low_per_hour: float
    high_per_hour: float

    @property
    def verdict(self) -> str:
        """flat, grows or falls."""
        if abs(self.last - self.first) <= FLAT_SHARE * abs(self.first):
            return "flat"
        return "grows" if self.last > self.first else "falls"

    def line(self) -> list[str]:
        """For the table."""
        interval = f"{self.per_hour:+.3g} ({self.low_per_hour:+.3g} … {self.high_per_hour:+.3g})"
        what = f"{self.name}, {self.unit}" if self.unit else self.name
        return [what, f"{self.first:,.4g}", f"{self.last:,.4g}", interval, self.verdict]


HEADINGS = ("what", "first third", "last third", "per hour (95 %)", "verdict")


def drift(name: str, unit: str, at_s: Sequence[float], values: Sequence[float]) -> Drift | None:
    """None where there are too few readings to say anything."""
    if len(values) < LEAST_READINGS:
        return None
    third = len(values) // 3
    slope, _, low, high = stats.theilslopes(values, at_s)
    return Drift(
        name,
        unit,
        float(np.median(values[:third])),
        float(np.median(values[-third:])),
        *(float(each) * 3600 + 0.0 for each in (slope, low, high)),  # no -0
    )


def by_period(
    at_s: NDArray[np.float64], values: NDArray[np.float64], period_s: float, percent: float
) -> tuple[list[float], list[float]]:
    """A percentile of each period that has values: where each begins, and the percentile."""
    places = np.floor(at_s / period_s).astype(np.int64)
    starts, percentiles = [], []
    for place in np.unique(places):
        starts.append(float(place) * period_s)
        percentiles.append(float(np.percentile(values[places == place], percent)))
    return starts, percentiles
