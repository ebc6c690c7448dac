"""Quotas above a run's groups are found, and what they throttle is counted: laid-out files, and on v1 the kernel's."""

from pathlib import Path

import anyio
import pytest

from experiment.host import CgroupHost, Limits, OuterQuota, Role, facts, make_group
from experiment.host.above import outer_quotas
from experiment.host.hierarchies import Tree
from experiment.host.procfs import ProcessId
from experiment.run.surroundings import Surroundings
from tests.experiment.host.conftest import script
from tests.experiment.host.test_cgroup_files import V1_FILES, V1_MOUNTS, V1_OWN, V2_FILES, V2_MOUNT, V2_OWN, lay_out

BASE = "sys/fs/cgroup"
USER = f"{BASE}/user.slice/user@1.service"
SCOPE = f"{USER}/app.slice/term.scope"


def test_no_quota_is_none(tmp_path: Path) -> None:
    files = {f"{BASE}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", f"{BASE}/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert lay_out(tmp_path / "v1", V1_MOUNTS, V1_OWN, {**V1_FILES, **files}).quotas == ()
    unlimited = {f"{USER}/cpu.max": "max 100000\n"}
    assert lay_out(tmp_path / "v2", V2_MOUNT, V2_OWN, {**V2_FILES, **unlimited}).quotas == ()


def test_v1_a_containers_quota_is_found_with_its_throttling(tmp_path: Path) -> None:
    mounts = [V1_MOUNTS[0].replace(" / /sys", " /docker/c0ffee /sys"), *V1_MOUNTS[1:]]
    own = ["3:cpu,cpuacct:/docker/c0ffee/job", *V1_OWN[1:]]
    files = {
        f"{BASE}/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
        f"{BASE}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        f"{BASE}/cpu,cpuacct/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 7000999\n",
        f"{BASE}/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
        f"{BASE}/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
    }
    host = lay_out(tmp_path, mounts, own, {**V1_FILES, **files})
    assert [(quota.group, quota.vcpus, quota.throttled()) for quota in host.quotas] == [
        ("/job", 0.5, None),
        ("/", 1.5, (4, 7000)),
    ]
    assert facts(host)["outer_quotas"][1] == {"group": "/", "vcpus": 1.5}


def test_v2_quotas_are_those_above_where_the_groups_are_made(tmp_path: Path) -> None:
    files = {
        f"{SCOPE}/cpu.max": "1000 100000\n",  # the roles' groups lie beside this one
        f"{USER}/app.slice/cpu.max": "25000 50000\n",
        f"{USER}/app.slice/cpu.stat": "usage_usec 9\nnr_periods 2\nnr_throttled 1\nthrottled_usec 77\n",
        f"{BASE}/user.slice/cpu.max": "300000 100000\n",
    }
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, {**V2_FILES, **files})
    assert [(quota.group, quota.vcpus, quota.throttled()) for quota in host.quotas] == [
        ("/user.slice/user@1.service/app.slice", 0.5, (1, 77)),
        ("/user.slice", 3.0, None),
    ]


def test_without_groups_of_the_runs_own_its_own_process_is_what_counts(tmp_path: Path) -> None:
    files = {
        f"{SCOPE}/cpu.max": "1000 100000\n",
        f"{SCOPE}/cgroup.controllers": "cpu\n",
        f"{BASE}/cgroup.controllers": "cpu\n",
    }
    # No cgroup.procs anywhere that a process could be moved by.
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, files)
    assert not host.writable
    assert [quota.vcpus for quota in host.quotas] == [0.01]


@pytest.mark.anyio
async def test_v1_throttling_of_a_parent_group_is_counted_and_said(tmp_path: Path, cgroup_host: CgroupHost) -> None:
    tree = next(tree for tree in cgroup_host.trees if "cpu" in tree.controllers)
    if tree.version != 1:
        pytest.skip(f"needs cgroup v1 with cpu: {cgroup_host.explain()}")
    parent = tree.parent / f"outer-{ProcessId.current()}"
    parent.mkdir()
    try:
        (parent / "cpu.cfs_period_us").write_text("10000")
        (parent / "cpu.cfs_quota_us").write_text("2000")
        quota = next(outer_quotas(parent, tree.mount))
        assert quota == OuterQuota(parent, f"/{parent.relative_to(tree.mount)}", 0.2)
        inside = CgroupHost("v1", (Tree(1, tree.mount, parent, tree.controllers),), (), (), (quota,))
        group = make_group(inside, ProcessId.current(), "gateway", Limits())
        around = Surroundings(inside.quotas, ())
        async with Role(script(tmp_path, "while True: pass"), group):
            around.mark("ramp")
            before = quota.throttled() or (0, 0)
            assert len(around.faults()) == 1  # nothing is known of the load's end yet
            with anyio.fail_after(20):  # the kernel adds the time of a period once it is over
                while (now := quota.throttled() or (0, 0))[0] == before[0] or now[1] == before[1]:  # noqa: ASYNC110
                    await anyio.sleep(0.05)
            around.mark("verify")
            assert group.usage().throttled_periods == 0  # the run's own group does not count it
    finally:
        parent.rmdir()
    (found,) = around.outer_quotas()
    assert found["throttled_periods"] > 0
    assert found["throttled_ms"] > 0
    (said,) = around.faults()
    assert said.startswith(f"a quota that is not the run's (0.2 vCPU, group {quota.group}) throttled it in ")
