"""What the simulator says about itself: how far it overshot its drawn service times, and how much it had to do.

Counters and histograms only; who serves and when a sample is taken is the server's business.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

HIGHEST_US = 60_000_000


class TimeHistogram:
    """Times in microseconds, 1 µs to 60 s, three significant digits; longer ones are recorded as 60 s."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, HIGHEST_US, 3)
        self._recorded_us = array("d")  # not yet in the histogram, where each costs as much as reading a small request

    def record_s(self, seconds: float) -> None:
        self._recorded_us.append(seconds * 1e6)

    def _take(self) -> HdrHistogram:
        """The histogram, with everything that was recorded."""
        if self._recorded_us:
            whole_us = np.clip(np.asarray(self._recorded_us), 0, HIGHEST_US).astype(np.int64)
            for value, count in zip(*(each.tolist() for each in np.unique(whole_us, return_counts=True)), strict=True):
                self._histogram.record_value(value, count)
            self._recorded_us = array("d")
        return self._histogram

    def summary_ms(self) -> dict[str, float | int | None]:
        """p50, p95, p99 and max in milliseconds, null where nothing was recorded; and count."""
        histogram = self._take()
        count = int(histogram.get_total_count())
        if not count:
            return {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}
        # Nearest rank, ceil(p · n): the library rounds p · n, so it is asked for the rank itself.
        asked = {percent: 100 * -(-percent * count // 100) / count for percent in (50, 95, 99)}
        return {
            **{f"p{percent}": histogram.get_value_at_percentile(exact) / 1000 for percent, exact in asked.items()},
            "max": histogram.get_max_value() / 1000,
            "count": count,
        }

    def encoded(self) -> str:
        """The histogram in HDR's own compressed form (base64, values in µs), for merging with others."""
        encoded: bytes = self._take().encode()
        return encoded.decode("ascii")


@dataclass(slots=True)
class Stats:
    """One simulator's figures since it started."""

    requests: int = 0
    answered: int = 0
    in_flight: int = 0
    queued: int = 0
    queued_max: int = 0
    descriptors_exhausted: bool = False
    memory_exhausted: bool = False
    protocols: Counter[str] = field(default_factory=lambda: Counter({"1.1": 0, "2": 0}))
    overshoot: TimeHistogram = field(default_factory=TimeHistogram)
    loop_lag: TimeHistogram = field(default_factory=TimeHistogram)
    loop_lag_latest_s: float = 0.0

    def enqueue(self) -> None:
        self.queued += 1
        self.queued_max = max(self.queued_max, self.queued)

    def sample_loop_lag(self, seconds: float) -> None:
        self.loop_lag_latest_s = seconds
        self.loop_lag.record_s(seconds)

    def as_json(self) -> dict[str, Any]:
        """The object that `GET /stats` answers with, but for the settings."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "in_flight": self.in_flight,
            "queued": self.queued,
            "queued_max": self.queued_max,
            "protocols": dict(self.protocols),
            "overshoot_ms": self.overshoot.summary_ms(),
            "overshoot_hdr": self.overshoot.encoded(),
            "loop_lag_ms": self.loop_lag.summary_ms(),
            "descriptors_exhausted": self.descriptors_exhausted,
            "memory_exhausted": self.memory_exhausted,
        }
