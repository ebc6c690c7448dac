"""One cgroup per role, on v1, v2 or a mix: made, limited, read, ended and removed. Where cgroups cannot be
written, `make_group` gives an AffinityGroup instead. Detection is in hierarchies.py, limits in limits.py.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiment.host.above import PREFIX, hand_down, signed, take_back, write
from experiment.host.affinity import AffinityGroup, pinning
from experiment.host.hierarchies import CgroupHost, Tree
from experiment.host.limits import (
    KILL_POLL_S,
    GroupStuck,
    Limits,
    OneRole,
    RoleGroup,
    ShapeRefused,
    Usage,
    kill_until_empty,
)
from experiment.host.procfs import ProcessId, markers, read_bytes, read_table

THREAD_CONTROLLERS = frozenset({"cpu", "cpuset"})
"""The ones that can tell threads of a process apart, on v2 as on v1."""
ENTER_FAILED = 125
"""Exit status of a launcher that could not enter its group (its log says which file)."""

# Each word before "--" is a cgroup.procs file; $$ stays the same process through exec.
_ENTER = (
    'while [ "$1" != -- ]; do echo $$ > "$1" || '
    '{ echo "gateway-lab: cannot enter $1" >&2; exit 125; }; shift; done; shift; exec "$@"'
)


def make_group(host: CgroupHost, run: ProcessId, role: str, limits: Limits) -> RoleGroup:
    """A cgroup, or, where none can be made, CPU affinity; its `notes` say what is lost.

    Raises ShapeRefused where the limits cannot be kept that way (a quota without cgroups).
    """
    why = host.explain()
    if host.writable:
        try:
            return Group.make(host, run, role, limits)
        except OSError as error:
            why = f"a cgroup could not be made: {error}"
    return AffinityGroup(run, role, limits, why)


class Group(OneRole):
    """`gateway-lab-<runner pid>-<runner start ticks>/<role>` in each tree of the host. Made by `make`."""

    def __init__(
        self, dirs: Sequence[tuple[Tree, Path]], run: ProcessId, role: str, limits: Limits, notes: Sequence[str]
    ) -> None:
        super().__init__(role, limits, notes, markers(run, role))
        self._dirs = tuple(dirs)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The group's directory in each hierarchy."""
        return tuple(path for _, path in self._dirs)

    @classmethod
    def make(cls, host: CgroupHost, run: ProcessId, role: str, limits: Limits) -> Group:
        """Makes and limits the group; an OSError leaves nothing of it behind.

        Raises ShapeRefused for a quota where no cpu controller can be had.
        """
        if limits.quota_vcpus is not None and "cpu" not in host.controllers:
            raise ShapeRefused(
                f"{role}: a quota of {limits.quota_vcpus:g} vCPU needs the cpu controller. {host.explain()}"
            )
        notes = []
        if limits.cpus is not None and "cpuset" not in host.controllers:
            notes.append(f"{role}: no cpuset controller; pinned by CPU affinity, which a process may undo")
        if "memory" not in host.controllers:
            limit = "its limit is not kept" if limits.memory_bytes is not None else "only RSS is known"
            notes.append(f"{role}: no memory controller; {limit}")
        group = cls([(tree, tree.parent / f"{PREFIX}{run}" / role) for tree in host.trees], run, role, limits, notes)
        try:
            for tree, path in group._dirs:
                _make_directory(tree, path)
                _limit(tree, path, limits)
        except OSError:
            group._remove()
            raise
        return group

    def launcher(self, argv: Sequence[str]) -> list[str]:
        files = [str(path / "cgroup.procs") for path in self.paths]
        pinned = any("cpuset" in tree.controllers for tree, _ in self._dirs) or self._limits.cpus is None
        inner = list(argv) if pinned else pinning(self._limits.cpus or frozenset(), argv)
        return ["/bin/sh", "-c", _ENTER, "gateway-lab", *files, "--", *inner]

    def started(self, pid: int) -> None:
        """The process entered by itself: nothing to remember."""

    def pids(self, max_age_s: float = 0.0) -> list[int]:
        return sorted({pid for path in self.paths for pid in members(path) if pid > 0})

    def usage(self) -> Usage:
        """Files: cpuacct.* and cpu.stat (v1), cpu.stat (v2), memory.*; a file that is not there gives None."""
        found: dict[str, int | None] = {}
        for tree, path in self._dirs:
            found |= _usage_v1(path, tree.controllers) if tree.version == 1 else _usage_v2(path, tree.controllers)
        return Usage(**found)

    def place_threads(self, placements: Sequence[tuple[int, Limits]]) -> None:
        """Each thread into a group `loop-<k>` of its own, below this one (v1 `tasks`, v2 threaded mode).

        Raises ShapeRefused where the kernel does not take them.
        """
        trees = [(tree, path) for tree, path in self._dirs if tree.controllers & THREAD_CONTROLLERS]
        try:
            for tree, path in trees:
                for number, (thread, limits) in enumerate(placements):
                    below = path / f"loop-{number}"
                    below.mkdir()
                    _make_threaded(tree, path, below)
                    _limit(tree, below, limits)
                    write(below / ("tasks" if tree.version == 1 else "cgroup.threads"), str(thread))
        except OSError as error:
            raise ShapeRefused(f"{self._role}: a thread cannot be given a group of its own: {error}") from None

    def kill(self, timeout_s: float = 5.0) -> int:
        present = set(self.pids())
        for tree, path in self._dirs:
            if tree.version == 2 and (path / "cgroup.kill").exists():
                (path / "cgroup.kill").write_text("1")
        killed = max(len(present), kill_until_empty(self.pids, timeout_s, str(self.paths[0])))
        self._remove(timeout_s)
        return killed

    def _remove(self, timeout_s: float = 1.0) -> None:
        for tree, path in self._dirs:
            remove(path, timeout_s)
            try:  # the run's own directory goes with its last role
                path.parent.rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EBUSY, errno.ENOENT):
                    raise
            else:
                take_back(tree.parent, tree.enable)


def members(path: Path) -> list[int]:
    """Process numbers in a group and the groups below it. 0 stands for a process of another pid namespace."""
    found: list[int] = []
    for directory in _nested(path):
        found.extend(int(word) for word in (read_bytes(f"{directory}/cgroup.procs") or b"").split())
    return found


def remove(path: Path, timeout_s: float = 1.0) -> bool:
    """Removes an empty group and those below it; True if there was one. The kernel may need a moment to let go."""
    existed = path.is_dir()
    deadline_s = time.monotonic() + timeout_s
    for directory in reversed(list(_nested(path))):
        while True:
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                if time.monotonic() > deadline_s:
                    raise GroupStuck(f"{directory} cannot be removed: {error.strerror}") from None
                time.sleep(KILL_POLL_S)
    return existed


def _nested(path: Path) -> Iterator[str]:
    """`path` and the groups below it, outer ones first. A directory's link count tells if there are any."""
    try:
        has_children = os.stat(path).st_nlink > 2
    except OSError:
        return
    if has_children:
        yield from (directory for directory, _, _ in os.walk(path))
    else:
        yield str(path)


def _make_directory(tree: Tree, path: Path) -> None:
    """Makes the run's directory, if this is its first role, and the role's in it."""
    run_directory = path.parent
    if not run_directory.is_dir():
        run_directory.mkdir()
        hand_down(tree.parent, tree.enable, vacate=tree.vacate)
        if tree.version == 2 and tree.controllers:
            write(run_directory / "cgroup.subtree_control", signed("+", tree.controllers))
        _inherit_cpuset(tree, tree.parent, run_directory)
    path.mkdir()
    _inherit_cpuset(tree, run_directory, path)
    # Under a group that holds processes and hands out cpu all the same, only threads can be put (cgroup-v2.rst).
    if tree.version == 2 and (kind := _text(path / "cgroup.type")) not in ("", "domain"):
        raise OSError(errno.EOPNOTSUPP, f"the group takes no process, its type is {kind!r}", str(path))


def _make_threaded(tree: Tree, path: Path, below: Path) -> None:
    """v2: first the type, which makes `path` the root of a threaded tree, and may then keep its processes
    though it hands out controllers (cgroup-v2.rst, "Threads")."""
    _inherit_cpuset(tree, path, below)
    if tree.version == 2:
        write(below / "cgroup.type", "threaded")
        write(path / "cgroup.subtree_control", signed("+", tree.controllers & THREAD_CONTROLLERS))


def _inherit_cpuset(tree: Tree, above: Path, path: Path) -> None:
    """A v1 cpuset group starts with no CPU and no memory node, and takes no process until it has both."""
    if tree.version == 1 and "cpuset" in tree.controllers:
        for name in ("cpus", "mems"):
            write(path / f"cpuset.{name}", _text(above / f"cpuset.effective_{name}", above / f"cpuset.{name}"))


def _limit(tree: Tree, path: Path, limits: Limits) -> None:
    v1 = tree.version == 1
    if limits.cpus is not None and "cpuset" in tree.controllers:
        write(path / "cpuset.cpus", cpu_list(limits.cpus))
    if (quota := limits.quota_us()) is not None and "cpu" in tree.controllers:
        quota_us, period_us = quota
        if v1:
            write(path / "cpu.cfs_period_us", str(period_us))
            write(path / "cpu.cfs_quota_us", str(quota_us))
        else:
            write(path / "cpu.max", f"{quota_us} {period_us}")
    if "memory" in tree.controllers:
        _limit_memory(path, limits.memory_bytes, v1)


def _limit_memory(path: Path, memory_bytes: int | None, v1: bool) -> None:
    """Nothing is swapped out, as far as the kernel counts swap: v2 forbids it, v1 sets memory and swap together no
    higher than memory alone, and so can only where that has a limit."""
    if memory_bytes is not None:
        write(path / ("memory.limit_in_bytes" if v1 else "memory.max"), str(memory_bytes))
    swap = path / ("memory.memsw.limit_in_bytes" if v1 else "memory.swap.max")
    if swap.exists() and (memory_bytes is not None or not v1):
        write(swap, str(memory_bytes) if v1 else "0")


def _usage_v1(path: Path, controllers: frozenset[str]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    if "cpuacct" in controllers:
        found["cpu_us"] = _thousandth(_number(path, "cpuacct.usage"))
        found["user_us"] = _thousandth(_number(path, "cpuacct.usage_user"))
        found["system_us"] = _thousandth(_number(path, "cpuacct.usage_sys"))
    if "cpu" in controllers:
        found["periods"], found["throttled_periods"] = _throttling(path, "nr_periods", "nr_throttled")
        found["throttled_us"] = _thousandth(*_throttling(path, "throttled_time"))
    if "memory" in controllers:
        found["memory_bytes"] = _number(path, "memory.usage_in_bytes")
        found["memory_peak_bytes"] = _number(path, "memory.max_usage_in_bytes")
        found["oom_kills"] = read_table(f"{path}/memory.oom_control").get("oom_kill")
    return found


def _usage_v2(path: Path, controllers: frozenset[str]) -> dict[str, int | None]:
    stat = read_table(f"{path}/cpu.stat")
    found: dict[str, int | None] = {f"{name}_us": stat.get(f"{key}_usec") for name, key in _V2_TIMES}
    if "cpu" in controllers:
        found["periods"], found["throttled_periods"] = _throttling(path, "nr_periods", "nr_throttled")
        (found["throttled_us"],) = _throttling(path, "throttled_usec")
    if "memory" in controllers:
        found["memory_bytes"] = _number(path, "memory.current")
        found["memory_peak_bytes"] = _number(path, "memory.peak")
        found["oom_kills"] = read_table(f"{path}/memory.events").get("oom_kill")
    return found


def _throttling(path: Path, *keys: str) -> list[int | None]:
    """Values of cpu.stat, which on neither version include those of the groups below: summed over all of them."""
    tables = [read_table(f"{directory}/cpu.stat") for directory in _nested(path)]
    known = [[table[key] for table in tables if key in table] for key in keys]
    return [sum(values) if values else None for values in known]


_V2_TIMES = (("cpu", "usage"), ("user", "user"), ("system", "system"))


def cpu_list(cpus: frozenset[int]) -> str:
    return ",".join(str(cpu) for cpu in sorted(cpus))


def _text(*paths: Path) -> str:
    """The first of these files that is there and not empty."""
    return next((text for path in paths if path.exists() and (text := path.read_text().strip())), "")


def _number(path: Path, name: str) -> int | None:
    raw = read_bytes(f"{path}/{name}")
    return int(raw) if raw else None


def _thousandth(value: int | None) -> int | None:
    return None if value is None else value // 1000
