"""How many processes carry a load: by the costs that are known, and what a point says of them."""

from dataclasses import replace
from typing import Any

import pytest

from experiment.ask import Ask, resolve_one
from experiment.ask.config import load_config
from experiment.host import CpuPlan, HarnessLayout
from experiment.run.harness import HarnessCosts, harness_layout, role_us
from experiment.run.stand import _pinned

EXPECTED = HarnessCosts(600.0, 160.0)


def summary(status: str, loadgen_us: float, simulator_us: float | None) -> dict[str, Any]:
    """Of 100 sessions over 10 s."""
    costs = {"loadgen": loadgen_us, "simulator": simulator_us}
    windows = {role: {"cpu_us": us and us * 1000, "wall_s": 10.0} for role, us in costs.items()}
    return {"sessions": 100, "status": status, "window": windows}


@pytest.mark.parametrize(
    ("point", "known"),
    [
        (summary("PASS", 400.0, 120.0), HarnessCosts(400.0, 120.0)),
        (summary("FAIL", 700.0, 100.0), HarnessCosts(700.0, 100.0)),
        (summary("INVALID", 400.0, 200.0), HarnessCosts(600.0, 200.0)),
        (summary("PASS", 400.0, None), EXPECTED),
        ({"sessions": 100, "status": "INVALID", "window": {}}, EXPECTED),
    ],
)
def test_what_a_point_says_of_the_costs(point: dict[str, Any], known: HarnessCosts) -> None:
    assert EXPECTED.seen(point) == known


def test_a_cost_is_of_a_session_second() -> None:
    assert role_us(summary("PASS", 400.0, 120.0), "loadgen") == 400.0
    assert role_us({"sessions": 1, "window": {}}, "loadgen") is None


def test_a_larger_machine_gets_as_many_as_the_load_needs() -> None:
    plan = resolve_one(load_config(), Ask("experiment", ("drain",), sessions=(100,)))
    cpus = CpuPlan(frozenset({15}), frozenset(range(15)), shared=False, order=tuple(range(15)))
    large = replace(plan, cpus=cpus)
    assert harness_layout(large, 100, EXPECTED) == HarnessLayout((1,), (0,))
    assert harness_layout(large, 8000, EXPECTED) == HarnessLayout(tuple(range(2, 9)), (0, 1))
    assert harness_layout(replace(large, scripted=True), 8000, EXPECTED).simulators == (0,)
    assert harness_layout(replace(large, cpus=None), 8000, EXPECTED) == HarnessLayout((None,), (None,))


def test_a_single_process_that_may_be_anywhere_needs_no_option() -> None:
    assert _pinned("--workers", (None,)) == []
    assert _pinned("--workers", (4,)) == ["--workers", "1", "--cpus", "4"]
    assert _pinned("--processes", (4, 5)) == ["--processes", "2", "--cpus", "4,5"]
