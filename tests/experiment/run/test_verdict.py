"""Every gate on both sides of its limit, and what a missing or late figure does."""

import copy
from typing import Any

import pytest

from experiment.ask.config import load_config
from experiment.run.verdict import failure_ratio, judge

CONFIG = load_config()
SLO, LIMITS = CONFIG.slo, CONFIG.harness

GOOD: dict[str, Any] = {
    "newest_ms": {"p50": 100.0, "p95": 150.0},
    "oldest_ms": {"p50": 1100.0, "p95": 1200.0},
    "send_lateness_ms": {"p99": 1.0},
    "partials": 200_000,
    "failures_total": 0,
    "harness": {"descriptors_exhausted": False, "memory_exhausted": False},
}
STATS: dict[str, Any] = {"overshoot_ms": {"p99": 2.0}, "descriptors_exhausted": False, "memory_exhausted": False}


def changed(tables: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(tables)
    *tables_on_the_way, key = path.split(".")
    place = result
    for name in tables_on_the_way:
        place = place[name]
    place[key] = value
    return result


def test_a_good_point_passes_without_reasons() -> None:
    verdict = judge(GOOD, STATS, SLO, LIMITS)
    assert (verdict.status, verdict.reasons) == ("PASS", ())


@pytest.mark.parametrize(
    ("path", "limit"),
    [("newest_ms.p50", 200), ("newest_ms.p95", 350), ("oldest_ms.p50", 1200), ("oldest_ms.p95", 1650)],
)
def test_each_latency_is_judged_at_its_limit(path: str, limit: float) -> None:
    assert judge(changed(GOOD, path, float(limit)), STATS, SLO, LIMITS).status == "PASS"
    over = judge(changed(GOOD, path, limit + 0.001), STATS, SLO, LIMITS)
    assert over.status == "FAIL"
    assert path.replace("_ms.", " ") in over.reasons[0]


@pytest.mark.parametrize(
    "path", ["newest_ms.p50", "newest_ms.p95", "oldest_ms.p50", "oldest_ms.p95", "send_lateness_ms.p99"]
)
def test_an_absent_quantity_never_passes(path: str) -> None:
    verdict = judge(changed(GOOD, path, None), STATS, SLO, LIMITS)
    assert verdict.status == "FAIL"
    assert "not measured" in verdict.reasons[0]


def test_no_partials_fail_even_without_failures() -> None:
    verdict = judge(changed(GOOD, "partials", 0), STATS, SLO, LIMITS)
    assert verdict.status == "FAIL"


@pytest.mark.parametrize(
    ("partials", "failures", "status"),
    [(99_999, 1, "PASS"), (99_998, 1, "FAIL"), (199_998, 2, "PASS"), (199_997, 2, "FAIL")],
)
def test_failures_are_judged_against_partials_and_failures(partials: int, failures: int, status: str) -> None:
    load = changed(changed(GOOD, "partials", partials), "failures_total", failures)
    assert judge(load, STATS, SLO, LIMITS).status == status


def test_a_late_load_generator_makes_a_point_invalid_whatever_the_gateway_did() -> None:
    late = changed(GOOD, "send_lateness_ms.p99", 10.1)
    assert judge(late, STATS, SLO, LIMITS).status == "INVALID"
    assert judge(changed(late, "newest_ms.p95", 5000.0), STATS, SLO, LIMITS).status == "INVALID"


def test_a_late_simulator_makes_a_point_invalid() -> None:
    verdict = judge(GOOD, changed(STATS, "overshoot_ms.p99", 10.1), SLO, LIMITS)
    assert verdict.status == "INVALID"
    assert "overshoot" in verdict.reasons[0]


@pytest.mark.parametrize("what", ["descriptors", "memory"])
def test_an_exhausted_harness_makes_a_point_invalid(what: str) -> None:
    assert judge(changed(GOOD, f"harness.{what}_exhausted", True), STATS, SLO, LIMITS).status == "INVALID"
    assert judge(GOOD, changed(STATS, f"{what}_exhausted", True), SLO, LIMITS).status == "INVALID"


def test_a_simulator_that_is_silent_says_nothing_about_the_gateway() -> None:
    verdict = judge(changed(GOOD, "newest_ms.p95", 5000.0), None, SLO, LIMITS)
    assert verdict.status == "INVALID"
    assert "silent" in verdict.reasons[0]


def test_a_harness_that_ended_says_nothing_about_the_gateway_whatever_was_measured() -> None:
    ended = ["simulator was ended by SIGKILL while the load ran"]
    for load in (GOOD, changed(GOOD, "failures_total", 500), None):
        verdict = judge(load, STATS, SLO, LIMITS, harness_faults=ended)
        assert (verdict.status, verdict.reasons[0]) == ("INVALID", ended[0])


@pytest.mark.parametrize("late_ms", [1.0, 68.0])
def test_a_gateway_that_ended_early_fails_also_where_the_harness_was_late(late_ms: float) -> None:
    ended = ["gateway was ended by SIGKILL while the load ran"]
    late = changed(GOOD, "send_lateness_ms.p99", late_ms)
    verdict = judge(late, STATS, SLO, LIMITS, gateway_faults=ended, harness_faults=["too"])
    assert (verdict.status, verdict.reasons) == ("FAIL", tuple(ended))


def test_a_load_generator_without_summary_says_nothing_about_the_gateway() -> None:
    assert judge(None, STATS, SLO, LIMITS).status == "INVALID"


def test_the_ratio_is_absent_without_partials() -> None:
    assert failure_ratio({"partials": 0, "failures_total": 3}) is None
    assert failure_ratio({"partials": 99, "failures_total": 1}) == 0.01
