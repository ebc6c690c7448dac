"""Which cgroup hierarchies this machine has (v1, v2 or both), where this process may make groups in them, and
if not, why. Only looks: cgroups.py makes and removes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiment.host.above import OuterQuota, outer_quotas

WANTED_V2 = ("cpu", "cpuset", "memory")
WANTED_V1 = ("cpu", "cpuacct", "cpuset", "memory")


@dataclass(frozen=True)
class Tree:
    """One hierarchy in which groups can be made: `parent` is the directory to make them in, `enable` the
    controllers (v2) that its children get only once they are written to its cgroup.subtree_control, for which
    `vacate` says that processes must leave it first."""

    version: int
    mount: Path
    parent: Path
    controllers: frozenset[str]
    enable: frozenset[str] = frozenset()
    vacate: bool = False


@dataclass(frozen=True)
class CgroupHost:
    """`kind` is "v1", "v2", "hybrid" (both mounted) or "none". `trees` are those that can be written;
    `problems` has a sentence for each thing that cannot. `quotas` are those of CPU time that hold the run from outside:
    of the groups that its own are made in, or, where none can be made, of this process's own; and of all above them."""

    kind: str
    trees: tuple[Tree, ...]
    problems: tuple[str, ...]
    mounts: tuple[Path, ...]
    quotas: tuple[OuterQuota, ...] = ()

    @property
    def controllers(self) -> frozenset[str]:
        """Controllers that groups made here will have."""
        return frozenset().union(*(tree.controllers for tree in self.trees))

    @property
    def writable(self) -> bool:
        return bool(self.trees)

    def explain(self) -> str:
        """One line for `make doctor` and the manifest."""
        if not self.writable:
            return f"cgroups ({self.kind}) cannot be written: {'; '.join(self.problems)}"
        has = ", ".join(sorted(self.controllers)) or "no controller (processes and CPU time can be followed)"
        vacate = any(tree.vacate for tree in self.trees)
        moved = ["processes beside a run's are moved into a leaf meanwhile"] if vacate else []
        return "; ".join([f"cgroups ({self.kind}) writable with {has}", *moved, *self.problems])


@dataclass(frozen=True)
class _Mount:
    version: int
    point: Path
    inside: str  # what of the hierarchy is mounted here: "/" but for containers
    controllers: frozenset[str]


def detect(root: Path = Path("/")) -> CgroupHost:
    """Looks at `root`/proc/self/{mountinfo,cgroup} and the hierarchies that they name (under `root` too)."""
    mounts = list(_mounts(root))
    own = dict(_own_paths(root))
    trees: list[Tree] = []
    problems: list[str] = []
    for mount in mounts:
        if mount.version == 1:
            parent = _v1_parent(mount, own)
            if parent is None:
                names = ",".join(sorted(mount.controllers))
                problems.append(f"v1 {names}: no write permission under {_shown(mount.point, root)}")
            else:
                trees.append(Tree(1, mount.point, parent, mount.controllers))
    v1_controllers = frozenset[str]().union(*(tree.controllers for tree in trees))
    wanted = frozenset(WANTED_V2) - v1_controllers
    for mount in mounts:
        # Even without a controller v2 counts CPU time and ends groups; where v1 does that, v2 is for what v1 lacks.
        if mount.version == 2 and (wanted & mount.controllers or "cpuacct" not in v1_controllers):
            tree, why = _v2_tree(mount, own, wanted, root)
            problems.extend(why)
            if tree is not None:
                trees.append(tree)
    versions = {mount.version for mount in mounts}
    kind = {frozenset({1}): "v1", frozenset({2}): "v2", frozenset({1, 2}): "hybrid"}.get(frozenset(versions), "none")
    if not mounts:
        problems.append("no cgroup hierarchy with cpu, cpuset or memory is mounted")
    parents = {tree.mount: tree.parent for tree in trees}
    quotas = [
        quota
        for mount in mounts
        for quota in outer_quotas(parents.get(mount.point) or next(_candidates(mount, own)), mount.point)
    ]
    return CgroupHost(kind, tuple(trees), tuple(problems), tuple(mount.point for mount in mounts), tuple(quotas))


def _mounts(root: Path) -> Iterator[_Mount]:
    """Parses proc_pid_mountinfo(5); of a hierarchy mounted twice, the first."""
    seen: set[frozenset[str] | None] = set()
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        point = root / _unescape(fields[4]).lstrip("/")
        if kind[0] == "cgroup2":
            version, controllers = 2, frozenset(_words(point / "cgroup.controllers")) & frozenset(WANTED_V2)
        else:
            version, controllers = 1, frozenset(kind[2].split(",")) & frozenset(WANTED_V1)
        identity = None if version == 2 else controllers
        if (version == 2 or controllers) and identity not in seen:
            seen.add(identity)
            yield _Mount(version, point, _unescape(fields[3]), controllers)


def _own_paths(root: Path) -> Iterator[tuple[str, str]]:
    """From /proc/self/cgroup: controller (v2: the empty name) → this process's path in its hierarchy."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _candidates(mount: _Mount, own_paths: dict[str, str]) -> Iterator[Path]:
    """This process's own group, then each above it up to the mount: the nearest that can be written is taken, so
    that limits set on us from outside go on holding."""
    own = own_paths.get(min(mount.controllers) if mount.version == 1 else "", "/")
    inside = mount.inside.rstrip("/")
    relative = own[len(inside) :] if own == inside or own.startswith(inside + "/") else "/"
    parts = [] if ".." in relative else [part for part in relative.split("/") if part]
    for length in range(len(parts), -1, -1):
        yield mount.point.joinpath(*parts[:length])


def _v1_parent(mount: _Mount, own: dict[str, str]) -> Path | None:
    return next((candidate for candidate in _candidates(mount, own) if _writable(candidate)), None)


def _v2_tree(mount: _Mount, own: dict[str, str], wanted: frozenset[str], root: Path) -> tuple[Tree | None, list[str]]:
    """The nearest candidate whose children get all wanted controllers, or else the one that gives most; none above one
    that was delegated to us."""
    best: Tree | None = None
    why: list[str] = []
    for candidate in _candidates(mount, own):
        shown = _shown(candidate, root)
        # Moving a process needs cgroup.procs of the common ancestor to be writable (cgroup-v2.rst, "Delegation").
        if not _writable(candidate) or not os.access(candidate / "cgroup.procs", os.W_OK):
            why.append(f"v2: no write permission for {shown}")
            continue
        offered = frozenset(_words(candidate / "cgroup.controllers")) & wanted
        enabled = frozenset(_words(candidate / "cgroup.subtree_control")) & offered
        enable = offered - enabled
        delegated = _is_delegated(candidate, mount)
        occupied = bool(enable) and not _may_enable(candidate)
        if occupied and not delegated:
            why.append(
                f"v2: {', '.join(sorted(enable))} cannot be handed to groups in {shown}, because processes live in it "
                "(EBUSY, the kernel's rule of no internal processes); a delegated scope helps: "
                "systemd-run --user --scope -p Delegate=yes <command>"
            )
            enable = frozenset()
        tree = Tree(2, mount.point, candidate, enabled | enable, enable, occupied and delegated)
        if best is None or len(tree.controllers) > len(best.controllers):
            best = tree
        if delegated or best.controllers == wanted:
            break
    if best is None:
        return None, why
    if best.controllers == wanted:
        return best, []
    missing = ", ".join(sorted(wanted - best.controllers))
    return best, [*why, f"v2: no {missing} controller for groups in {_shown(best.parent, root)}"]


def _may_enable(candidate: Path) -> bool:
    """Only the hierarchy's real root may hold processes and have children with controllers; it is the one
    directory without cgroup.events."""
    is_real_root = not (candidate / "cgroup.events").exists()
    return is_real_root or not _words(candidate / "cgroup.procs")


def _is_delegated(candidate: Path, mount: _Mount) -> bool:
    """Whether it is ours to arrange, processes included: systemd says so by an attribute (`Delegate=yes`, systemd's
    "Control Group APIs and Delegation"); in a container it is the root, to a user the outermost that can be written."""
    marks = ("user.delegate", "trusted.delegate")
    return (
        candidate == mount.point
        or not _writable(candidate.parent)
        or any(_attribute(candidate, mark) == b"1" for mark in marks)
    )


def _attribute(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError:
        return None


def _writable(path: Path) -> bool:
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _shown(path: Path, root: Path) -> str:
    return "/" + str(path.relative_to(root))


def _unescape(text: str) -> str:
    """Blanks and backslashes of mountinfo come as octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
