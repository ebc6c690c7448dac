"""What the simulator says about itself: how far it overshot its drawn service times, and how much it had to do.

Counters and histograms only; who serves and when a sample is taken is the server's business.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram

HIGHEST_US = 60_000_000
Report = dict[str, Any]
"""What one process says of itself, as JSON: counts, and histograms in HDR's compressed form."""
_COUNTED = ("requests", "answered", "in_flight", "queued")
_FLAGS = ("descriptors_exhausted", "memory_exhausted")


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

    def add(self, encoded: str) -> None:
        """Take in what another one's `encoded` gave."""
        self._take().decode_and_add(encoded)

    def encoded(self) -> str:
        """The histogram in HDR's own compressed form (base64, values in µs), for merging with others."""
        encoded: bytes = self._take().encode()
        return encoded.decode("ascii")


def merged(encoded: Iterable[str]) -> TimeHistogram:
    """All of them in one: exact, since all have the same buckets."""
    whole = TimeHistogram()
    for each in encoded:
        whole.add(each)
    return whole


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

    def report(self) -> Report:
        """Everything, for `as_json`."""
        return {
            **{name: getattr(self, name) for name in (*_COUNTED, *_FLAGS)},
            "queued_max": self.queued_max,
            "protocols": dict(self.protocols),
            "overshoot_hdr": self.overshoot.encoded(),
            "loop_lag_hdr": self.loop_lag.encoded(),
        }


def as_json(reports: Sequence[Report]) -> dict[str, Any]:
    """The object that `GET /stats` answers with, but for the settings: of all processes together, exactly, but for
    `queued_max`, which is the largest of theirs."""
    overshoot, loop_lag = (merged(report[key] for report in reports) for key in ("overshoot_hdr", "loop_lag_hdr"))
    protocols: Counter[str] = Counter()
    for report in reports:
        protocols.update(report["protocols"])
    return {
        **{name: sum(report[name] for report in reports) for name in _COUNTED},
        **{name: any(report[name] for report in reports) for name in _FLAGS},
        "queued_max": max(report["queued_max"] for report in reports),
        "protocols": {name: protocols[name] for name in ("1.1", "2")},
        "overshoot_ms": overshoot.summary_ms(),
        "overshoot_hdr": overshoot.encoded(),
        "loop_lag_ms": loop_lag.summary_ms(),
    }
