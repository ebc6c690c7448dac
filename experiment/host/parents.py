"""What a run changes of the v2 group that its own are made in, and takes back: the controllers that it hands down, and
processes that are in the way of it (a group that holds any can hand down none: cgroup-v2.rst, "No Internal Process
Constraint"). On v1 there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from experiment.host.hierarchies import WANTED_V2, Tree
from experiment.host.procfs import read_bytes

PREFIX = "gateway-lab-"
"""Of a run's own directory. What lies below it may be ended once its runner is dead."""
LEAF = "beside-gateway-lab"
"""Where processes of the parent wait. Nothing in it is ever ended."""
_ROUNDS = 10
"""So often it is looked whether a process was started behind those that were moved."""


def hand_down(tree: Tree) -> None:
    """Before a run's first group. Raises OSError, also where a process cannot be moved."""
    if tree.vacate:
        leaf = tree.parent / LEAF
        leaf.mkdir(exist_ok=True)
        _move(tree.parent, leaf)
    if tree.enable:
        write(tree.parent / "cgroup.subtree_control", signed("+", tree.enable))


def take_back(parent: Path, enabled: Collection[str]) -> None:
    """After a run's last group; what another run still needs is left to its end. `enabled`: what this run has. A parent
    with a leaf handed down nothing before, whoever made it."""
    leaf = parent / LEAF
    vacated = leaf.is_dir()
    if not (enabled or vacated) or any(parent.glob(f"{PREFIX}*")):
        return
    with suppress(OSError):  # somebody else came to need it meanwhile
        write(parent / "cgroup.subtree_control", signed("-", WANTED_V2 if vacated else enabled))
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


def _move(source: Path, target: Path) -> None:
    """All processes but those of another pid namespace, which read 0: what comes next then says EBUSY."""
    for _ in range(_ROUNDS):
        pids = [pid for pid in (read_bytes(f"{source}/cgroup.procs") or b"").decode().split() if pid != "0"]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):  # it ended by itself
                write(target / "cgroup.procs", pid)


def signed(sign: str, controllers: Collection[str]) -> str:
    """As cgroup.subtree_control takes them: "+cpu +memory"."""
    return " ".join(f"{sign}{name}" for name in sorted(controllers))
