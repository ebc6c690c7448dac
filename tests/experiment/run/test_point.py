"""What of a point's surroundings makes it INVALID."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from experiment.ask import Ask, load_config, resolve_one
from experiment.host import AffinityGroup, CgroupHost, Limits, OuterQuota, Role, make_group, usable_cpus
from experiment.host.procfs import ProcessId
from experiment.run.point import _summarise, _Watch, lost_groups
from experiment.run.progress import Display
from experiment.run.surroundings import Surroundings
from experiment.store import PointFolder
from tests.experiment.host.conftest import script

LOAD = """
    import json, pathlib, time
    for phase, periods in (("ramp", 3), ("warmup", 3), ("measure", 5), ("drain", 5), ("verify", 5), ("done", 9)):
        pathlib.Path("cpu.stat").write_text(f"nr_throttled {periods}\\nthrottled_usec {periods * 1000}\\n")
        print(json.dumps({"event": "phase", "phase": phase}), flush=True)
        while not pathlib.Path(phase).exists():
            time.sleep(0.01)
"""
"""A load whose phases end when they were seen, under a quota that throttles."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_point_that_an_outer_quota_throttled_is_invalid_and_keeps_by_how_much(tmp_path: Path) -> None:
    async def saw(phase: str, _: Mapping[str, Role]) -> None:
        (tmp_path / phase).touch()

    plan = resolve_one(load_config(), Ask("experiment", target="ws://127.0.0.1:9"))
    folder = PointFolder.create(tmp_path, "external", 5, 1)
    surroundings = Surroundings([OuterQuota(tmp_path, "/box", 0.5)], usable_cpus())
    host = CgroupHost("none", (), ("taken away for this test",), ())
    group = make_group(host, ProcessId.current(), "loadgen", Limits())
    async with Role(script(tmp_path, LOAD, pipe=True), group) as role:
        with Display().stage("a point", 1.0) as stage:
            watch = _Watch({"loadgen": role}, plan, 5, folder, stage, saw, surroundings)
            await watch.follow()
    summary = _summarise(plan, 5, folder, watch, None, None)
    assert summary["status"] == "INVALID"
    assert summary["reasons"][0] == (
        "a quota that is not the run's (0.5 vCPU, group /box) throttled it in 2 periods, 2 ms in all"
    )
    assert summary["outer_quotas"] == [{"group": "/box", "vcpus": 0.5, "throttled_periods": 2, "throttled_ms": 2.0}]


def test_a_role_that_lost_its_group_is_named_with_the_reason() -> None:
    lost = AffinityGroup(ProcessId.current(), "gateway", Limits(frozenset({0})), "a cgroup could not be made: EBUSY")
    (said,) = lost_groups(True, [lost])
    assert said.startswith("gateway lost its group: ")
    assert "EBUSY" in said
    assert lost_groups(False, [lost]) == []


def test_steal_time_of_the_measured_window_alone_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = {"ramp": (0, 100), "warmup": (50, 200), "measure": (50, 300), "drain": (80, 800), "verify": (500, 1300)}
    around = Surroundings([], [1])
    for phase, read in ticks.items():
        monkeypatch.setattr(
            "experiment.run.surroundings.steal_ticks", lambda cpus, read=read: dict.fromkeys(cpus, read)
        )
        around.mark(phase)
    assert around.steal_share() == {"1": 0.06}
    assert around.notes() == ["the hypervisor took 6.0% of CPU 1 in the measured window"]
    assert Surroundings([], [1]).notes() == []
