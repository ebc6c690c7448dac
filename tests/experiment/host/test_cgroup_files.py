"""Detection and writing of v1, v2 and mixed hierarchies, against directories laid out like the kernel's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiment.host import (
    AffinityGroup,
    CgroupHost,
    Group,
    Limits,
    Run,
    ShapeRefused,
    clean_leftovers,
    detect,
    make_group,
)
from experiment.host.above import LEAF, PREFIX
from experiment.host.hierarchies import Tree
from experiment.host.procfs import ProcessId
from experiment.host.sampling import Sampler

RUN = ProcessId(7, 70)
WANTED = frozenset({"cpu", "cpuset", "memory"})
LIMITS = Limits(frozenset({1, 3}), 0.25, 5.0, 2 << 30)


def lay_out(root: Path, mountinfo: list[str], own: list[str], files: dict[str, str]) -> CgroupHost:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in mountinfo))
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in own))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return detect(root)


V1_MOUNTS = [
    "30 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct",
    "31 23 0:28 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset",
    "32 23 0:29 /box /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
    "33 23 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids",
]
V1_OWN = ["3:cpu,cpuacct:/", "2:cpuset:/lab", "1:memory:/box/inner"]
V1_FILES = {
    "sys/fs/cgroup/cpu,cpuacct/cgroup.procs": "",
    "sys/fs/cgroup/cpuset/lab/cpuset.effective_cpus": "0-3\n",
    "sys/fs/cgroup/cpuset/lab/cpuset.effective_mems": "0\n",
    "sys/fs/cgroup/memory/inner/cgroup.procs": "",
}
V2_MOUNT = ["25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"]
USER = "sys/fs/cgroup/user.slice/user@1.service"
V2_OWN = ["0::/user.slice/user@1.service/app.slice/term.scope"]
V2_FILES = {
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "sys/fs/cgroup/cgroup.subtree_control": "cpuset cpu io memory pids\n",
    "sys/fs/cgroup/cgroup.procs": "1\n2\n",
    **{f"{USER}{inner}/cgroup.events": "populated 1\n" for inner in ("", "/app.slice", "/app.slice/term.scope")},
    f"{USER}/app.slice/cgroup.controllers": "cpuset cpu memory pids\n",
    f"{USER}/app.slice/cgroup.subtree_control": "memory pids\n",
    f"{USER}/app.slice/cgroup.procs": "",
    f"{USER}/app.slice/term.scope/cgroup.controllers": "cpuset cpu memory pids\n",
    f"{USER}/app.slice/term.scope/cgroup.subtree_control": "",
    f"{USER}/app.slice/term.scope/cgroup.procs": "4242\n",
}


def test_v1_writes_each_controller_in_its_own_mount(tmp_path: Path) -> None:
    host = lay_out(tmp_path, V1_MOUNTS, V1_OWN, V1_FILES)
    assert host.kind == "v1"
    assert host.controllers == {"cpu", "cpuacct", "cpuset", "memory"}

    group = make_group(host, RUN, "gateway", LIMITS)
    assert isinstance(group, Group)
    assert group.notes == ()
    base = tmp_path / "sys/fs/cgroup"
    name = "gateway-lab-7-70/gateway"
    # The nearest group of our own: "lab" of cpuset, and of memory what lies below the part that is mounted.
    assert set(group.paths) == {base / "cpu,cpuacct" / name, base / "cpuset/lab" / name, base / "memory/inner" / name}
    assert (base / "cpu,cpuacct" / name / "cpu.cfs_quota_us").read_text() == "1250"
    assert (base / "cpu,cpuacct" / name / "cpu.cfs_period_us").read_text() == "5000"
    assert (base / "cpuset/lab" / name / "cpuset.cpus").read_text() == "1,3"
    assert (base / "cpuset/lab" / name / "cpuset.mems").read_text() == "0"
    assert (base / "cpuset/lab/gateway-lab-7-70/cpuset.cpus").read_text() == "0-3"
    assert (base / "memory/inner" / name / "memory.limit_in_bytes").read_text() == str(2 << 30)
    assert not (base / "cpu,cpuacct/gateway-lab-7-70/cpu.cfs_quota_us").exists()
    entered = [word for word in group.launcher(["true"]) if word.endswith("cgroup.procs")]
    assert entered == [str(path / "cgroup.procs") for path in group.paths]


def test_v1_reads_in_microseconds_and_bytes(tmp_path: Path) -> None:
    group = make_group(lay_out(tmp_path, V1_MOUNTS, V1_OWN, V1_FILES), RUN, "gateway", Limits())
    assert isinstance(group, Group)
    nothing = group.usage()
    assert nothing.cpu_us is None
    assert nothing.memory_bytes is None
    assert nothing.throttled_us is None
    for path in group.paths:
        (path / "cpuacct.usage").write_text("5000123\n")
        (path / "cpu.stat").write_text("nr_periods 9\nnr_throttled 4\nthrottled_time 7000999\n")
        (path / "memory.usage_in_bytes").write_text("4096\n")
        (path / "memory.max_usage_in_bytes").write_text("8192\n")
        (path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    usage = group.usage()
    assert (usage.cpu_us, usage.user_us) == (5000, None)
    assert (usage.periods, usage.throttled_periods, usage.throttled_us) == (9, 4, 7000)
    assert (usage.memory_bytes, usage.memory_peak_bytes, usage.oom_kills) == (4096, 8192, 2)


def test_v2_takes_the_nearest_group_without_processes_and_enables_what_it_lacks(tmp_path: Path) -> None:
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES)
    assert host.kind == "v2"
    assert host.explain() == "cgroups (v2) writable with cpu, cpuset, memory"

    group = make_group(host, RUN, "gateway", LIMITS)
    assert isinstance(group, Group)
    app = tmp_path / USER / "app.slice"
    assert group.paths == (app / "gateway-lab-7-70/gateway",)
    assert (app / "cgroup.subtree_control").read_text() == "+cpu +cpuset"
    assert (app / "gateway-lab-7-70/cgroup.subtree_control").read_text() == "+cpu +cpuset +memory"
    assert (group.paths[0] / "cpu.max").read_text() == "1250 5000"
    assert (group.paths[0] / "cpuset.cpus").read_text() == "1,3"
    assert (group.paths[0] / "memory.max").read_text() == str(2 << 30)

    (group.paths[0] / "cpu.stat").write_text(
        "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 1\nthrottled_usec 77\n"
    )
    (group.paths[0] / "memory.current").write_text("4096\n")
    (group.paths[0] / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    usage = group.usage()
    assert (usage.cpu_us, usage.user_us, usage.system_us, usage.throttled_us) == (30, 20, 10, 77)
    assert (usage.memory_bytes, usage.memory_peak_bytes, usage.oom_kills) == (4096, None, 1)


CONTAINER_FILES = {
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu memory\n",
    "sys/fs/cgroup/cgroup.subtree_control": "",
    "sys/fs/cgroup/cgroup.procs": "1\n42\n",
    "sys/fs/cgroup/cgroup.events": "populated 1\n",
}


@pytest.fixture
def directories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of groups, which go with the kernel's files in them."""
    remove_directory = os.rmdir

    def with_its_files(path: str | Path) -> None:
        for file in Path(path).iterdir():
            if file.is_file():
                file.unlink()
        remove_directory(path)

    monkeypatch.setattr(os, "rmdir", with_its_files)


@pytest.mark.usefixtures("directories")
def test_v2_in_a_container_what_lives_in_its_root_is_moved_into_a_leaf_and_back(tmp_path: Path) -> None:
    host = lay_out(tmp_path, V2_MOUNT, ["0::/"], CONTAINER_FILES)
    assert host.controllers == {"cpu", "cpuset", "memory"}
    assert "moved into a leaf" in host.explain()
    root = tmp_path / "sys/fs/cgroup"
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == []  # looking moves nothing

    first, second = (make_group(host, run, "gateway", LIMITS) for run in (RUN, ProcessId(8, 80)))
    assert isinstance(first, Group)
    assert first.notes == ()
    assert (root / LEAF / "cgroup.procs").read_text() == "42"  # the last that was written
    assert not LEAF.startswith(PREFIX)
    assert (root / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory"
    assert (root / "gateway-lab-7-70/gateway/cpu.max").read_text() == "1250 5000"

    (root / "cgroup.procs").write_text("")
    (root / "cgroup.subtree_control").write_text("cpuset cpu memory\n")
    first.kill()
    assert (root / LEAF).is_dir()  # the other run's groups still need it
    second.kill()
    second.kill()
    assert (root / "cgroup.procs").read_text() == "42"
    assert (root / "cgroup.subtree_control").read_text() == "-cpu -cpuset -memory"
    assert [path.name for path in root.iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("directories")
def test_v2_what_a_container_refuses_is_taken_back_and_said(tmp_path: Path) -> None:
    host = lay_out(tmp_path, V2_MOUNT, ["0::/"], CONTAINER_FILES)
    root = tmp_path / "sys/fs/cgroup"
    (root / "cgroup.subtree_control").unlink()
    (root / "cgroup.subtree_control").mkdir()  # writing to it fails, even for root
    group = make_group(host, RUN, "gateway", Limits())
    assert isinstance(group, AffinityGroup)
    assert "cgroup.subtree_control" in group.notes[0]
    assert (root / "cgroup.procs").read_text() == "42"
    assert not (root / LEAF).exists()


def test_v2_within_a_delegated_scope_the_groups_lie_in_it(tmp_path: Path) -> None:
    scope = tmp_path / USER / "app.slice/term.scope"
    assert lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES).trees[0].parent == scope.parent
    try:
        os.setxattr(scope, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no user attributes here: {error}")
    host = detect(tmp_path)
    assert host.trees == (Tree(2, tmp_path / "sys/fs/cgroup", scope, WANTED, WANTED, vacate=True),)
    group = make_group(host, RUN, "gateway", LIMITS)
    assert isinstance(group, Group)
    assert group.paths == (scope / "gateway-lab-7-70/gateway",)
    assert (scope / LEAF / "cgroup.procs").read_text() == "4242"
    assert (scope / "cgroup.subtree_control").read_text() == "+cpu +cpuset +memory"
    assert (scope.parent / "cgroup.subtree_control").read_text() == "memory pids\n"


def test_v2_a_users_outermost_group_is_delegated_where_no_attribute_says_so(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    files = {name.replace("cgroup/", "cgroup/box/"): text for name, text in CONTAINER_FILES.items()}
    lay_out(tmp_path, V2_MOUNT, ["0::/box"], files)
    box = tmp_path / "sys/fs/cgroup/box"
    for directory in (tmp_path.parent, tmp_path.parent.parent):
        directory.chmod(0o755)
    for directory in (tmp_path, box.parent):
        directory.chmod(0o555)
    box.chmod(0o777)
    for file in box.iterdir():
        file.chmod(0o666)
    request.getfixturevalue("nobody")
    (tree,) = detect(tmp_path).trees
    assert (tree.parent, tree.controllers, tree.vacate) == (box, WANTED, True)


def test_v2_processes_of_a_group_that_nobody_delegated_stay(tmp_path: Path) -> None:
    files = {
        **V2_FILES,
        f"{USER}/app.slice/cgroup.procs": "77\n",
        f"{USER}/app.slice/cgroup.subtree_control": "",
    }
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, files)
    assert not any(tree.vacate for tree in host.trees)


@pytest.mark.usefixtures("directories")
def test_v2_what_was_handed_down_is_taken_back_and_no_more(tmp_path: Path) -> None:
    group = make_group(lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES), RUN, "gateway", LIMITS)
    group.kill()
    assert (tmp_path / USER / "app.slice/cgroup.subtree_control").read_text() == "-cpu -cpuset"
    assert not (tmp_path / USER / "app.slice/gateway-lab-7-70").exists()


@pytest.mark.usefixtures("directories")
def test_v2_controllers_that_a_killed_run_had_handed_down_are_taken_back_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = ProcessId(os.getpid(), 1)
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES)
    app = tmp_path / USER / "app.slice"
    with monkeypatch.context() as patch:
        patch.setattr(ProcessId, "current", lambda: dead)
        Run(tmp_path / "results", host).group("gateway", LIMITS)
    assert (app / "cgroup.subtree_control").read_text() == "+cpu +cpuset"
    (said,) = [said for said in clean_leftovers(tmp_path / "results", host) if f"runner {dead.pid}, gone" in said]
    assert "removed 1 group" in said
    assert (app / "cgroup.subtree_control").read_text() == "-cpu -cpuset"


@pytest.mark.parametrize("memory_bytes", [None, 1 << 30])
@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_swapped_out_where_the_kernel_counts_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, memory_bytes: int | None
) -> None:
    name = "memory.memsw.limit_in_bytes" if version == 1 else "memory.swap.max"
    laid_out = (V1_MOUNTS, V1_OWN, V1_FILES) if version == 1 else (V2_MOUNT, V2_OWN, V2_FILES)
    host = lay_out(tmp_path, *laid_out)
    make_directory = Path.mkdir

    def as_the_kernel_does(path: Path, *words: object) -> None:
        make_directory(path)
        (path / name).write_text("max\n")

    monkeypatch.setattr(Path, "mkdir", as_the_kernel_does)
    group = make_group(host, RUN, "gateway", Limits(memory_bytes=memory_bytes))
    assert isinstance(group, Group)
    kept = {str(memory_bytes) if memory_bytes else "max\n"} if version == 1 else {"0"}
    assert {(path / name).read_text() for path in group.paths if "memory" in str(path) or version == 2} == kept


def test_a_mix_takes_from_v2_what_v1_does_not_have(tmp_path: Path) -> None:
    mounts = [*V1_MOUNTS[:2], "26 1 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"]
    files = {
        **V1_FILES,
        "sys/fs/cgroup/unified/cgroup.controllers": "memory pids\n",
        "sys/fs/cgroup/unified/cgroup.subtree_control": "",
        "sys/fs/cgroup/unified/cgroup.procs": "1\n",
    }
    host = lay_out(tmp_path, mounts, [*V1_OWN[:2], "0::/"], files)
    assert host.kind == "hybrid"
    assert [sorted(tree.controllers) for tree in host.trees] == [["cpu", "cpuacct"], ["cpuset"], ["memory"]]
    assert host.problems == ()


def test_a_failing_write_leaves_no_group_and_falls_back(tmp_path: Path) -> None:
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES)
    app = tmp_path / USER / "app.slice"
    (app / "cgroup.subtree_control").unlink()
    (app / "cgroup.subtree_control").mkdir()  # writing to it fails, even for root
    group = make_group(host, RUN, "gateway", Limits())
    assert isinstance(group, AffinityGroup)
    assert "a cgroup could not be made" in group.notes[0]
    assert "cgroup.subtree_control" in group.notes[0]
    assert not (app / "gateway-lab-7-70").exists()
    with pytest.raises(ShapeRefused, match="needs a cgroup"):
        make_group(host, RUN, "gateway", LIMITS)


@pytest.mark.usefixtures("directories")
def test_a_v2_group_that_takes_no_process_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES)
    make_directory = Path.mkdir

    def as_the_kernel_does(path: Path) -> None:
        make_directory(path)
        if path.name == "gateway":
            (path / "cgroup.type").write_text("domain invalid\n")

    monkeypatch.setattr(Path, "mkdir", as_the_kernel_does)
    group = make_group(host, RUN, "gateway", Limits())
    assert isinstance(group, AffinityGroup)
    assert "its type is 'domain invalid'" in group.notes[0]
    assert not (tmp_path / USER / "app.slice/gateway-lab-7-70/gateway").exists()


@pytest.fixture
def nobody() -> Iterator[None]:
    """Permission as an ordinary user has it; root's own comes back afterwards."""
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    yield
    if is_root:
        os.setresuid(0, 0, 0)


def test_without_permission_the_reason_names_the_directory(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tmp_path.parent.chmod(0o755)
    tmp_path.parent.parent.chmod(0o755)
    lay_out(tmp_path, V1_MOUNTS[1:2], ["2:cpuset:/"], {"sys/fs/cgroup/cpuset/cgroup.procs": ""})
    for directory in (tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())):
        directory.chmod(0o555)
    request.getfixturevalue("nobody")
    host = detect(tmp_path)
    assert host.problems == ("v1 cpuset: no write permission under /sys/fs/cgroup/cpuset",)
    assert isinstance(make_group(host, RUN, "gateway", Limits()), AffinityGroup)


def test_nothing_mounted_is_said(tmp_path: Path) -> None:
    host = lay_out(tmp_path, [], [], {})
    assert (host.kind, host.writable) == ("none", False)
    assert "no cgroup hierarchy" in host.explain()


def test_a_group_that_was_never_entered_reads_as_no_processes_and_no_numbers(tmp_path: Path) -> None:
    group = make_group(lay_out(tmp_path, V1_MOUNTS, V1_OWN, V1_FILES), RUN, "gateway", Limits())
    row = Sampler([group], tmp_path / "resources.csv").snapshot("gateway")
    assert (row.processes, row.cpu_us, row.rss_bytes, row.threads) == (0, None, None, None)


def test_v1_threads_get_groups_below_the_roles_and_throttling_is_summed(tmp_path: Path) -> None:
    group = make_group(lay_out(tmp_path, V1_MOUNTS, V1_OWN, V1_FILES), RUN, "gateway", Limits(frozenset({0, 1})))
    group.place_threads([(11, Limits(frozenset({0}), 0.25, 5.0)), (12, Limits(frozenset({1}), 0.25, 5.0))])
    base = tmp_path / "sys/fs/cgroup"
    cpu, cpuset = base / "cpu,cpuacct/gateway-lab-7-70/gateway", base / "cpuset/lab/gateway-lab-7-70/gateway"
    assert [(cpu / name / "tasks").read_text() for name in ("loop-0", "loop-1")] == ["11", "12"]
    assert (cpu / "loop-1/cpu.cfs_quota_us").read_text() == "1250"
    assert [(cpuset / name / "cpuset.cpus").read_text() for name in ("loop-0", "loop-1")] == ["0", "1"]
    assert (cpuset / "loop-0/cpuset.mems").read_text() == "0"
    assert not (base / "memory/inner/gateway-lab-7-70/gateway/loop-0").exists()
    (cpu / "cpu.stat").write_text("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    for name in ("loop-0", "loop-1"):
        (cpu / name / "cpu.stat").write_text("nr_periods 9\nnr_throttled 4\nthrottled_time 7000000\n")
    usage = group.usage()
    assert (usage.periods, usage.throttled_periods, usage.throttled_us) == (18, 8, 14000)


def test_v2_threads_get_threaded_groups(tmp_path: Path) -> None:
    group = make_group(lay_out(tmp_path, V2_MOUNT, V2_OWN, V2_FILES), RUN, "gateway", Limits())
    assert isinstance(group, Group)
    group.place_threads([(11, Limits(frozenset({1}), 0.25, 5.0))])
    (path,) = group.paths
    assert (path / "cgroup.subtree_control").read_text() == "+cpu +cpuset"
    assert (path / "loop-0/cgroup.type").read_text() == "threaded"
    assert (path / "loop-0/cpu.max").read_text() == "1250 5000"
    assert (path / "loop-0/cgroup.threads").read_text() == "11"


def test_without_cgroups_no_thread_is_placed(tmp_path: Path) -> None:
    group = make_group(lay_out(tmp_path, [], [], {}), RUN, "gateway", Limits())
    with pytest.raises(ShapeRefused, match="needs cgroups"):
        group.place_threads([(1, Limits(quota_vcpus=0.5))])
