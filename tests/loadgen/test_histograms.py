"""Milliseconds in, percentiles out, and logs that other HDR tools can merge."""

from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from loadgen.histograms import Distribution, write_log


def test_empty_is_none_not_zero() -> None:
    empty = Distribution()
    assert empty.summary() == {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}
    empty.add([])
    assert empty.count == 0


def test_percentiles_to_three_digits() -> None:
    values = np.arange(1, 10001) / 10.0  # 0.1 … 1000 ms
    figure = Distribution()
    figure.add(values)
    for percentile, exact in ((50, 500.0), (95, 950.0), (99, 990.0), (100, 1000.0)):
        assert figure.percentile_ms(percentile) == pytest.approx(exact, rel=1e-3)
    assert figure.summary()["count"] == 10000


def test_out_of_range_is_recorded_as_the_edge_and_counted() -> None:
    figure = Distribution()
    figure.add([0.0, -3.0, 60_000.0, 60_000.002, 1e12])
    assert figure.over_range == 2
    assert figure.count == 5
    assert figure.summary()["max"] == 60_000.0
    assert figure.percentile_ms(1) == 0.001


def test_counts_weigh() -> None:
    figure = Distribution()
    figure.add([1.0, 5.0, 70_000.0], [97, 2, 1])
    assert (figure.count, figure.over_range) == (100, 1)
    assert figure.percentile_ms(97) == pytest.approx(1.0, rel=1e-3)
    assert figure.percentile_ms(98) == pytest.approx(5.0, rel=1e-3)


def test_merging_parts_equals_the_whole() -> None:
    values = np.random.default_rng(1).lognormal(4, 2, 5000)
    whole, parts = Distribution(), [Distribution() for _ in range(3)]
    whole.add(values)
    for number, part in enumerate(parts):
        part.add(values[number::3])
    merged = parts[0]
    merged.merge(parts[1])
    merged.merge(parts[2])
    assert merged.summary() == whole.summary()
    assert merged.over_range == whole.over_range
    assert all(merged.percentile_ms(p) == whole.percentile_ms(p) for p in range(1, 101))


def test_logs_read_back_by_tag_and_merge(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.hlog" for number in range(2)]
    for number, path in enumerate(paths):
        newest = Distribution()
        newest.add(np.arange(1, 101) + 100.0 * number)
        write_log(path, {"newest": newest, "blocked_send": Distribution()}, 9.0, 24.0, 1_700_000_000.0)
    merged = HdrHistogram(1, 60_000_000, 3)
    for path in paths:
        tags = []
        reader = HistogramLogReader(str(path), merged)
        while (interval := reader.get_next_interval_histogram()) is not None:
            tags.append(interval.get_tag())
            if interval.get_tag() == "newest":
                merged.add(interval)
        assert tags == ["newest", "blocked_send"]
        reader.input_file.close()
    assert merged.get_total_count() == 200
    assert merged.get_value_at_percentile(50) == pytest.approx(100_000, rel=1e-3)
