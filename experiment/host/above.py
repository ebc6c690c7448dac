"""Groups above a run's own: the CPU quotas that hold it from there, and what it changes of the one that its groups are
made in. Both only on files of the hierarchy that is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experiment.host.procfs import read_bytes, read_table

PREFIX = "gateway-lab-"
"""Of a run's own directory. What lies below it may be ended once its runner is dead."""
LEAF = "beside-gateway-lab"
"""Where processes of the parent wait. Nothing in it is ever ended."""
_ROUNDS = 10
"""So often it is looked whether a process was started behind those that were moved."""


@dataclass(frozen=True)
class OuterQuota:
    """A limit of CPU time that stops every role at once, and that no group of the run counts. `group` is a path inside
    its hierarchy, "/" for the one that is mounted (in a container: the container's own)."""

    path: Path
    group: str
    vcpus: float

    def throttled(self) -> tuple[int, int] | None:
        """Periods in which the group ran out of its quota, and for how many µs, since it was made. The group's own
        `cpu.stat`, without those below it. None where that cannot be read."""
        stat = read_table(f"{self.path}/cpu.stat")
        if "nr_throttled" not in stat:
            return None
        return stat["nr_throttled"], stat.get("throttled_usec", stat.get("throttled_time", 0) // 1000)


def outer_quotas(group: Path, mount: Path) -> Iterator[OuterQuota]:
    """Of a group and each above it, up to the root of what is mounted; of v1 (`cpu.cfs_*`) and v2 (`cpu.max`) alike."""
    for path in (group, *group.parents):
        if (vcpus := _vcpus(path)) is not None:
            yield OuterQuota(path, f"/{'' if path == mount else path.relative_to(mount)}", vcpus)
        if path == mount:
            return


def hand_down(parent: Path, controllers: Collection[str], *, vacate: bool) -> None:
    """Before a run's first group in it. On v2 a group with processes can hand down no controller (cgroup-v2.rst, "No
    Internal Process Constraint"): with `vacate` they are moved into a leaf. On v1 there is nothing to hand down.

    Raises OSError, also where a process cannot be moved.
    """
    if vacate:
        leaf = parent / LEAF
        leaf.mkdir(exist_ok=True)
        _move(parent, leaf)
    if controllers:
        write(parent / "cgroup.subtree_control", signed("+", controllers))


def take_back(parent: Path, controllers: Collection[str]) -> None:
    """After a run's last group in it; what another run still needs is left to its end. `controllers`: those that this
    run had handed down. A parent with a leaf handed down none before, whoever made the leaf."""
    leaf = parent / LEAF
    vacated = leaf.is_dir()
    if not (controllers or vacated) or any(parent.glob(f"{PREFIX}*")):
        return
    if vacated:
        controllers = (read_bytes(f"{parent}/cgroup.subtree_control") or b"").decode().split()
    with suppress(OSError):  # somebody else came to need it meanwhile
        write(parent / "cgroup.subtree_control", signed("-", controllers))
    if vacated:
        with suppress(OSError):
            _move(leaf, parent)
            leaf.rmdir()


def write(path: Path, text: str) -> None:
    """Names the file and the value in the error: EINVAL alone helps nobody."""
    try:
        path.write_text(text)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} on writing {text!r}", str(path)) from None


def signed(sign: str, controllers: Collection[str]) -> str:
    """As cgroup.subtree_control takes them: "+cpu +memory"."""
    return " ".join(f"{sign}{name}" for name in sorted(controllers))


def _vcpus(path: Path) -> float | None:
    words = (read_bytes(f"{path}/cpu.max") or b"").split()
    if not words:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in names for word in (read_bytes(f"{path}/{name}") or b"").split()]
    if len(words) != 2 or words[0] in (b"max", b"-1"):
        return None
    quota_us, period_us = map(int, words)
    return quota_us / period_us


def _move(source: Path, target: Path) -> None:
    """All processes but those of another pid namespace, which read 0: what comes next then says EBUSY."""
    for _ in range(_ROUNDS):
        pids = [pid for pid in (read_bytes(f"{source}/cgroup.procs") or b"").decode().split() if pid != "0"]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):  # it ended by itself
                write(target / "cgroup.procs", pid)
