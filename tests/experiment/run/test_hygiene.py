"""What would disturb a run is named with its mending, and a quiet machine says nothing."""

from typing import Any

import pytest

from experiment.host import CpuPlan, facts
from experiment.run.hygiene import as_facts, disturbances, findings

QUIET: dict[str, Any] = {
    "cpus": 4,
    "cpus_usable": [0, 1, 2, 3],
    "cgroup_controllers": ["cpu", "cpuset", "memory"],
    "cgroup_explained": "cgroup v2",
    "outer_quotas": [],
    "open_files_hard": 65536,
    "ephemeral_ports": [1024, 65535],
    "governor": "performance",
    "turbo": "off",
    "steal_share": {"0": 0.0001, "1": 0.002},
    "load_average": [0.1, 0.1, 0.1],
    "swap_bytes": 0,
    "cpus_sharing_a_core": [],
}


def test_a_quiet_machine_has_no_disturbance() -> None:
    assert disturbances(findings(QUIET, [CpuPlan(frozenset({1}), frozenset({0}), shared=False)], 1000)) == []


@pytest.mark.parametrize(
    ("fact", "value", "what", "mend"),
    [
        ("cpus_usable", [0], "cores", "use a machine with two"),
        ("cgroup_controllers", ["cpu"], "cgroups", "delegate"),
        ("outer_quotas", [{"group": "/box", "vcpus": 1.5}], "outer CPU quotas", "INVALID"),
        ("open_files_hard", 1024, "open files", "ulimit -Hn"),
        ("ephemeral_ports", [32768, 34000], "ephemeral ports", "sysctl"),
        ("governor", "powersave", "frequency governor", "performance"),
        ("governor", "performance on 0; powersave on 1", "frequency governor", "performance"),
        ("turbo", "on on 1; off on 0", "turbo", "no_turbo"),
        ("steal_share", {"0": 0.0, "1": 0.04}, "steal time", "not shared"),
        ("load_average", [2.0, 1.0, 1.0], "load average", "end what else runs"),
        ("swap_bytes", 2**30, "swap", "swapoff"),
        ("cpus_sharing_a_core", [[0, 1], [2, 3]], "hardware threads", "SMT"),
    ],
)
def test_each_disturbance_comes_with_its_mending(fact: str, value: Any, what: str, mend: str) -> None:
    plan = CpuPlan(frozenset({1}), frozenset({0}), shared=False)
    (found,) = disturbances(findings({**QUIET, fact: value}, [plan], 1000))
    assert found.what == what
    assert mend in found.mend
    assert as_facts([found])[0]["what"] == what


def test_siblings_that_are_on_one_side_are_fine() -> None:
    plan = CpuPlan(frozenset({2, 3}), frozenset({0, 1}), shared=False)
    assert disturbances(findings({**QUIET, "cpus_sharing_a_core": [[0, 1], [2, 3]]}, [plan])) == []


def test_siblings_are_looked_at_for_every_row() -> None:
    apart = CpuPlan(frozenset({2, 3}), frozenset({0, 1}), shared=False)
    crossed = CpuPlan(frozenset({3}), frozenset({0, 1, 2}), shared=False)
    (found,) = disturbances(findings({**QUIET, "cpus_sharing_a_core": [[0, 1], [2, 3]]}, [apart, crossed]))
    assert found.what == "hardware threads"


def test_a_harness_on_the_gateways_cores_is_named() -> None:
    plan = CpuPlan(frozenset({0, 1}), frozenset({0, 1}), shared=True)
    assert [found.what for found in disturbances(findings(QUIET, [plan]))] == ["cores of a run"]


def test_this_machines_facts_have_everything() -> None:
    assert findings(facts())
