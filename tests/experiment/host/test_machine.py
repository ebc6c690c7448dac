"""Which CPUs go to whom, for every shape on small and large machines, and the manifest's facts."""

import getpass
import json
import os
import socket

import pytest

from experiment.host import CpuPlan, ShapeRefused, cpu_plan, facts, usable_cpus
from experiment.host.machine import kernel_hz


@pytest.mark.parametrize(
    ("vcpus", "mode", "cores", "gateway", "harness"),
    [
        (1, "cpuset", range(2), {1}, {0}),
        (2, "cpuset", range(4), {2, 3}, {0, 1}),
        (2, "cpuset", {3, 5, 9}, {5, 9}, {3}),  # the CPUs that may be used, not those that exist
        (0.1, "quota", range(2), {1}, {0}),
        (0.5, "quota", range(8), {7}, set(range(7))),
        (1, "quota", range(2), {1}, {0}),
        (1, "quota", range(8), {4, 5, 6, 7}, {0, 1, 2, 3}),
        (1, "quota", range(3), {1, 2}, {0}),
        (3, "quota", range(4), {1, 2, 3}, {0}),
        (1.5, "quota", range(3), {1, 2}, {0}),
    ],
)
def test_a_plan_never_overlaps(vcpus: float, mode: str, cores: object, gateway: set[int], harness: set[int]) -> None:
    plan = cpu_plan(vcpus, mode, cores)  # type: ignore[arg-type]
    assert plan == CpuPlan(frozenset(gateway), frozenset(harness), shared=False)
    assert cpu_plan(vcpus, mode, cores, harness_shared=True) == plan  # type: ignore[arg-type] # only where needed


def test_no_core_left_for_the_harness_is_refused_unless_shared() -> None:
    with pytest.raises(ShapeRefused, match=r"2 cores and one for the harness; 2 can be used here.*HARNESS=shared"):
        cpu_plan(2, "cpuset", range(2))
    plan = cpu_plan(2, "cpuset", range(2), harness_shared=True)
    assert plan.shared
    assert plan.gateway == plan.harness == {0, 1}
    one = cpu_plan(0.25, "quota", [6], harness_shared=True)
    assert one.shared
    assert one.gateway == one.harness == {6}


@pytest.mark.parametrize(
    ("vcpus", "mode", "cores", "says"),
    [
        (4, "cpuset", range(2), "4 vCPU needs 4 cores; 2 can be used"),
        (0.5, "cpuset", range(4), "needs mode quota"),
        (0, "quota", range(4), "above 0"),
        (1, "quota", [], "no usable CPU"),
    ],
)
def test_the_impossible_is_refused_even_shared(vcpus: float, mode: str, cores: object, says: str) -> None:
    with pytest.raises(ShapeRefused, match=says):
        cpu_plan(vcpus, mode, cores, harness_shared=True)  # type: ignore[arg-type]


def test_facts_are_json_and_name_nobody() -> None:
    found = facts()
    text = json.dumps(found)
    assert found["kernel"] == os.uname().release
    assert found["memory_bytes"] > 1 << 28
    assert found["cpus_usable"] == sorted(os.sched_getaffinity(0)) == sorted(usable_cpus())
    assert found["ephemeral_ports"][0] < found["ephemeral_ports"][1]
    assert found["open_files_soft"] > 0
    words = set(text.replace('"', " ").replace(",", " ").split())
    assert not words & {socket.gethostname(), getpass.getuser()} - {"linux", "Linux"}


def test_the_tick_rate_is_the_kernels_own_or_unknown() -> None:
    assert kernel_hz() in (None, 100, 250, 300, 1000)
