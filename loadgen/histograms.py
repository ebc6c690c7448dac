"""HDR histograms of latencies: microseconds from 1 to 60 s, three significant digits (PROTOCOL, section 4).

A thin use of `hdrhistogram`. Milliseconds come in and go out; which values count is decided by the caller.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from loadgen.percentiles import rank_of

LOWEST_US = 1
HIGHEST_US = 60_000_000
DIGITS = 3


class Distribution:
    """One figure's values. A value over 60 s is recorded as 60 s and counted in `over_range`."""

    def __init__(self) -> None:
        self.over_range = 0
        self._hdr = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)

    @property
    def count(self) -> int:
        return int(self._hdr.get_total_count())

    def add(self, values_ms: npt.ArrayLike, counts: npt.ArrayLike | None = None) -> None:
        """Record each value (milliseconds; below 1 µs counts as 1 µs), `counts` times where given."""
        us = np.asarray(values_ms, dtype=np.float64) * 1000.0
        weights = np.ones(len(us), dtype=np.int64) if counts is None else np.asarray(counts, dtype=np.int64)
        self.over_range += int(weights[us > HIGHEST_US].sum())
        whole_us = np.rint(np.clip(us, LOWEST_US, HIGHEST_US)).astype(np.int64)
        distinct, places = np.unique(whole_us, return_inverse=True)
        totals = np.bincount(places, weights=weights, minlength=len(distinct)).astype(np.int64)
        for value, count in zip(distinct.tolist(), totals.tolist(), strict=True):
            if count:
                self._hdr.record_value(value, count)

    def merge(self, other: "Distribution") -> None:
        """Add all of `other`'s values: exact, since both have the same buckets."""
        self._hdr.add(other._hdr)
        self.over_range += other.over_range

    def percentile_ms(self, percentile: int) -> float | None:
        """The value at a percentile (1 … 100), by nearest rank, in milliseconds; None when nothing was recorded."""
        if not self.count:
            return None
        # The library rounds p · n to a rank, where the contract rounds up: so it is asked for the rank itself.
        asked = 100 * rank_of(percentile, self.count) / self.count
        # The last bucket's upper edge, which stands for all in it, lies past the range's end.
        return min(float(self._hdr.get_value_at_percentile(asked)), HIGHEST_US) / 1000.0

    def summary(self) -> dict[str, float | int | None]:
        """p50, p95, p99 and max in milliseconds (None when empty), and the count."""
        return {
            "p50": self.percentile_ms(50),
            "p95": self.percentile_ms(95),
            "p99": self.percentile_ms(99),
            "max": self.percentile_ms(100),
            "count": self.count,
        }


def write_log(path: Path, figures: Mapping[str, Distribution], from_s: float, to_s: float, base_s: float) -> None:
    """Write an HDR log (format 1.2), one interval per figure, tagged with its name. Any HDR tool can merge it.

    Times are seconds since t0; `base_s` is t0 as seconds since the epoch. Values are microseconds; the interval's
    maximum is in milliseconds. A figure with no values has its (empty) line too.
    """
    with path.open("w", encoding="ascii") as log:
        writer = HistogramLogWriter(log)
        writer.output_log_format_version()
        writer.output_base_time(base_s * 1000.0)
        writer.output_legend()
        for tag, figure in figures.items():
            hdr = figure._hdr
            hdr.set_start_time_stamp(from_s * 1000.0)
            hdr.set_end_time_stamp(to_s * 1000.0)
            log.write(f"Tag={tag},")  # the writer itself has no way to name a tag; the reader understands it
            writer.output_interval_histogram(hdr, max_value_unit_ratio=1000.0)
