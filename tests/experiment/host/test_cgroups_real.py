"""The kernel keeps what a group asks for. Skipped, with the reason, where cgroups cannot be written."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from experiment.host import CgroupHost, Group, Limits, Role, clean_leftovers, detect, make_group, named_threads
from experiment.host.above import LEAF
from experiment.host.cgroups import members, remove
from experiment.host.hierarchies import Tree
from experiment.host.procfs import ProcessId, read_stat
from tests.experiment.host.conftest import MakeGroup, first_lines, is_running, script

pytestmark = pytest.mark.anyio
BUSY = "while True: pass"


async def test_a_quota_is_kept_and_its_throttling_counted(tmp_path: Path, make_real: MakeGroup) -> None:
    group = make_real("gateway", Limits(quota_vcpus=0.2, period_ms=10))
    async with Role(script(tmp_path, BUSY), group):
        await anyio.sleep(0.3)
        before, began_s = group.usage(), anyio.current_time()
        await anyio.sleep(1.0)
        after, wall_s = group.usage(), anyio.current_time() - began_s
    assert before.cpu_us is not None
    assert after.cpu_us is not None
    share = (after.cpu_us - before.cpu_us) / 1e6 / wall_s
    assert 0.02 < share < 0.3
    assert after.throttled_periods > before.throttled_periods  # type: ignore[operator]
    assert after.throttled_us > before.throttled_us  # type: ignore[operator]
    assert after.user_us is not None
    assert after.system_us is not None
    assert after.memory_bytes is not None
    assert after.oom_kills == 0


async def test_a_cpuset_holds_from_the_first_instruction(tmp_path: Path, make_real: MakeGroup) -> None:
    if "cpuset" not in detect().controllers:
        pytest.skip(detect().explain())
    cpu = max(os.sched_getaffinity(0))
    group = make_real("gateway", Limits(cpus=frozenset({cpu})))
    code = """
        import os
        print(sorted(os.sched_getaffinity(0)), flush=True)
        try:
            os.sched_setaffinity(0, range(os.cpu_count()))
        except OSError:
            pass
        print(sorted(os.sched_getaffinity(0)), flush=True)
    """
    async with Role(script(tmp_path, code, pipe=True), group) as role:
        assert await first_lines(role, 2) == [f"[{cpu}]", f"[{cpu}]"]


async def test_the_memory_limit_ends_a_process_and_the_exit_says_so(tmp_path: Path, make_real: MakeGroup) -> None:
    group = make_real("gateway", Limits(memory_bytes=64 << 20))
    async with Role(script(tmp_path, "import time; hoard = bytearray(256 << 20); time.sleep(60)"), group) as role:
        with anyio.fail_after(20):
            exit_ = await role.wait()
    assert exit_.signal == "SIGKILL"
    assert "memory limit was hit" in str(exit_)
    assert (await role.stop()).oom_kills == exit_.oom_kills


def test_swap_is_not_beside_the_memory_limit(make_real: MakeGroup) -> None:
    group = make_real("gateway", Limits(memory_bytes=64 << 20))
    assert isinstance(group, Group)
    names = {"memory.memsw.limit_in_bytes": str(64 << 20), "memory.swap.max": "0"}
    kept = [(path / name, text) for path in group.paths for name, text in names.items() if (path / name).exists()]
    if not kept:
        pytest.skip("this kernel does not count swap")
    assert [file.read_text().strip() for file, _ in kept] == [text for _, text in kept]


@pytest.fixture
def neighbour() -> Iterator[tuple[CgroupHost, int]]:
    """A v2 group that holds a process and in which a run makes its own. (With controllers the kernel would demand that
    the process leaves it first; where v1 has them all, this much can be tried.)"""
    mount = next((m for m in detect().mounts if (m / "cgroup.subtree_control").exists()), None)
    if mount is None or not os.access(mount / "cgroup.procs", os.W_OK):
        pytest.skip("no cgroup v2 hierarchy that can be written")
    outer = mount / f"outer-{ProcessId.current()}"
    outer.mkdir()
    try:
        with subprocess.Popen(["sleep", "300"]) as process:
            (outer / "cgroup.procs").write_text(str(process.pid))
            tree = Tree(2, mount, outer, frozenset(), vacate=True)
            yield CgroupHost("v2", (tree,), (), (mount,)), process.pid
            process.kill()
    finally:
        remove(outer)


def processes(path: Path) -> list[int]:
    return [int(word) for word in (path / "cgroup.procs").read_text().split()]


def test_v2_a_neighbour_waits_in_a_leaf_until_the_last_group_is_gone(neighbour: tuple[CgroupHost, int]) -> None:
    host, pid = neighbour
    outer = host.trees[0].parent
    mine = [make_group(host, ProcessId.current(), role, Limits()) for role in ("gateway", "loadgen")]
    runner = read_stat(os.getppid())
    assert runner is not None
    another = make_group(host, runner.id, "gateway", Limits())
    assert (processes(outer), processes(outer / LEAF)) == ([], [pid])
    for group in mine:
        assert processes(outer / LEAF) == [pid]
        group.kill()
    assert processes(outer / LEAF) == [pid]
    another.kill()
    assert processes(outer) == [pid]
    assert [path for path in outer.iterdir() if path.is_dir()] == []


def test_v2_a_neighbour_that_a_killed_run_left_in_the_leaf_is_put_back_alive(
    tmp_path: Path, neighbour: tuple[CgroupHost, int]
) -> None:
    host, pid = neighbour
    outer = host.trees[0].parent
    make_group(host, ProcessId(os.getpid(), 1), "gateway", Limits())  # as if by a runner that is gone
    assert processes(outer / LEAF) == [pid]
    clean_leftovers(tmp_path, host)
    assert processes(outer) == [pid]
    assert is_running(pid)
    assert members(outer) == [pid]


async def test_nothing_is_left_of_a_group(tmp_path: Path, make_real: MakeGroup) -> None:
    first, second = make_real("gateway", Limits()), make_real("loadgen", Limits())
    assert isinstance(first, Group)
    assert isinstance(second, Group)
    async with Role(script(tmp_path, BUSY), first):
        assert all(path.is_dir() for path in first.paths)
    assert not any(path.exists() for path in first.paths)
    assert all(path.is_dir() for path in second.paths)  # a sibling keeps the run's directory
    second.kill()
    assert not any(path.parent.exists() for path in (*first.paths, *second.paths))


async def test_groups_that_a_role_makes_inside_its_own_go_too(tmp_path: Path, make_real: MakeGroup) -> None:
    group = make_real("gateway", Limits())
    assert isinstance(group, Group)
    role = Role(script(tmp_path, "import time; print('up', flush=True); time.sleep(300)", pipe=True), group)
    await first_lines(role, 1)
    inner = group.paths[0] / "inner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(role.pid))
    assert role.pid in group.pids()
    await role.stop(grace_s=0)
    assert not inner.exists()


async def test_each_thread_keeps_its_own_quota_on_its_own_cpu(tmp_path: Path, make_real: MakeGroup) -> None:
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if "cpuset" not in detect().controllers or len(cpus) < 2:
        pytest.skip(f"needs cpuset and two CPUs: {detect().explain()}")
    code = """
        import ctypes, threading, time
        def busy(number):
            ctypes.CDLL(None).prctl(15, f"loop-{number}".encode())  # PR_SET_NAME, as CPython 3.14 does by itself
            while True:
                sum(range(10_000))
        for number in (1, 0):
            threading.Thread(target=busy, args=(number,), daemon=True).start()
        time.sleep(0.2)
        print("up", flush=True)
        time.sleep(60)
    """
    group = make_real("gateway", Limits(frozenset(cpus)))
    assert isinstance(group, Group)
    async with Role(script(tmp_path, code, pipe=True), group) as role:
        await first_lines(role, 1)
        threads = named_threads(group.pids(), "loop-")
        assert len(threads) == 2
        group.place_threads(
            [(thread, Limits(frozenset({cpu}), 0.1, 10)) for thread, cpu in zip(threads, cpus, strict=True)]
        )
        assert [sorted(os.sched_getaffinity(thread)) for thread in threads] == [[cpu] for cpu in cpus]
        assert role.pid in group.pids()
        before = group.usage()
        await anyio.sleep(1.0)
        after = group.usage()
    assert (after.cpu_us - before.cpu_us) / 1e6 < 0.3  # type: ignore[operator]
    assert after.throttled_periods > before.throttled_periods  # type: ignore[operator]
    assert not any(path.exists() for path in group.paths)
