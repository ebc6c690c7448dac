"""What a shape may ask for, and sums that never fall."""

import pytest

from experiment.host import Limits, ShapeRefused
from experiment.host.limits import RunningTotal


def test_the_smallest_quota_is_allowed() -> None:
    assert Limits(quota_vcpus=0.1, period_ms=10).quota_us() == (1000, 10_000)
    assert Limits(quota_vcpus=0.25, period_ms=5).quota_us() == (1250, 5000)
    assert Limits(quota_vcpus=2).quota_us() == (200_000, 100_000)
    assert Limits(cpus=frozenset({0})).quota_us() is None


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"quota_vcpus": 0.1, "period_ms": 5.0}, r"0\.1 vCPU of every 5 ms is 0\.5 ms.*1 ms.*at least 10 ms"),
        ({"quota_vcpus": 0.0}, "more than 0 vCPU"),
        ({"quota_vcpus": 4.0, "period_ms": 0.5}, r"period of 0\.5 ms"),
        ({"quota_vcpus": 1.0, "period_ms": 2000.0}, "period of 2000 ms"),
        ({"cpus": frozenset()}, "empty"),
        ({"memory_bytes": 0}, "more than 0 bytes"),
    ],
)
def test_what_the_kernel_would_refuse_is_refused_with_its_numbers(limits: dict[str, object], says: str) -> None:
    with pytest.raises(ShapeRefused, match=says):
        Limits(**limits)  # type: ignore[arg-type]


def test_a_total_keeps_what_the_dead_had_counted() -> None:
    total = RunningTotal()
    assert total.update({"a": 10, "b": 5}) == 15
    assert total.update({"a": 12}) == 17  # b ended
    assert total.update({"a": 12, "b": 1}) == 18  # another b
    assert total.update({"b": 1}) == 18
    assert total.update({}) == 18
