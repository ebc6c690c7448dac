"""What a run holds on this machine, written down so that the next run can clear up after one that was killed.
Nothing is ever ended that does not carry the mark of a run whose runner is dead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio

from experiment.host.above import PREFIX, take_back
from experiment.host.cgroups import Group, make_group, members, remove
from experiment.host.environment import role_environment
from experiment.host.hierarchies import CgroupHost, detect
from experiment.host.limits import GroupStuck, Limits, RoleGroup, kill_until_empty
from experiment.host.machine import raise_descriptor_limit
from experiment.host.processes import Command, Role
from experiment.host.procfs import RUN_MARKER, ProcessId, all_stats, boot_id, marker

WALK_DEPTH = 8


class Run:
    """Groups and roles of one run, registered in `<results>/.running/<pid>-<start ticks>.json` before they are used.

    Leaving it (`async with`) stops the roles, last started first, removes every group and the registration.
    """

    def __init__(self, results: Path, host: CgroupHost | None = None, keep_env: Sequence[str] = ()) -> None:
        """Every role is started with the same environment; `keep_env` names variables of this process's own for it."""
        self.id = ProcessId.current()
        self.host = host or detect()
        self.environment = role_environment(keep_env)
        self.groups: list[RoleGroup] = []
        self.roles: list[Role] = []
        self._file = results / ".running" / f"{self.id}.json"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._save()

    def group(self, role: str, limits: Limits) -> RoleGroup:
        """Raises ShapeRefused where the limits cannot be kept on this machine."""
        group = make_group(self.host, self.id, role, limits)
        self.groups.append(group)
        self._save()
        return group

    def start(self, command: Command, group: RoleGroup) -> Role:
        role = Role(command, group, self.environment)
        self.roles.append(role)
        self._save()
        return role

    async def aclose(self, grace_s: float = 5.0) -> None:
        """Raises GroupStuck at the end when something could not be ended; the registration then stays."""
        stuck: list[str] = []
        with anyio.CancelScope(shield=True):
            for role in reversed(self.roles):
                try:
                    await role.stop(grace_s)
                except GroupStuck as error:
                    stuck.append(str(error))
            for group in self.groups:
                try:
                    group.kill()
                except GroupStuck as error:
                    stuck.append(str(error))
        if stuck:
            raise GroupStuck("; ".join(sorted(set(stuck))))
        self._file.unlink(missing_ok=True)

    async def __aenter__(self) -> Run:
        raise_descriptor_limit()  # every role inherits it
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _save(self) -> None:
        """Replaces the file in one step: a reader sees the old or the new, never half."""
        content = {
            "runner": str(self.id),
            "boot_id": boot_id(),
            "pid_namespace": _pid_namespace(),
            "groups": [str(path) for group in self.groups if isinstance(group, Group) for path in group.paths],
            "enabled": {str(tree.parent): sorted(tree.enable) for tree in self.host.trees},
            "sessions": [str(role.id) for role in self.roles],
        }
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(content, indent=1))
        os.replace(temporary, self._file)


@dataclass
class _Leftover:
    """What is known of one dead run."""

    runner: ProcessId
    groups: list[Path] = field(default_factory=list)
    enabled: dict[str, list[str]] = field(default_factory=dict)
    """Controllers that it had a parent hand down, by that parent's path."""
    sessions: list[ProcessId] = field(default_factory=list)
    file: Path | None = None


def clean_leftovers(results: Path, host: CgroupHost | None = None) -> list[str]:
    """Ends and removes what runs with a dead runner have left: registered ones, groups named `gateway-lab-…`, and
    processes with a dead run's mark. Returns one sentence per run, and one per thing that had to be left.
    """
    host = host or detect()
    sentences: list[str] = []
    found: dict[ProcessId, _Leftover] = {}
    for file in sorted((results / ".running").glob("*.json")):
        _take_registration(file, found, sentences)
    for path in _lab_groups(host.mounts):
        runner = ProcessId.parse(path.name.removeprefix(PREFIX))
        if runner is not None and not runner.is_alive():
            leftover = found.setdefault(runner, _Leftover(runner))
            if path not in leftover.groups:
                leftover.groups.append(path)
    for runner in _dead_marks():
        found.setdefault(runner, _Leftover(runner))
    return sentences + [_clean(leftover) for leftover in found.values()]


def _take_registration(file: Path, found: dict[ProcessId, _Leftover], sentences: list[str]) -> None:
    runner = ProcessId.parse(file.stem)
    if runner is None:
        return
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        groups = [Path(path).parent for path in content["groups"]]
        sessions = [leader for text in content["sessions"] if (leader := ProcessId.parse(text))]
        enabled: dict[str, list[str]] = content.get("enabled", {})
        namespace, boot = content["pid_namespace"], content["boot_id"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        sentences.append(f"{file.name} cannot be read ({error}) and was left; remove it by hand")
        return
    if boot != boot_id():
        file.unlink(missing_ok=True)  # nothing of it can have outlived the machine's restart
    elif namespace != _pid_namespace():
        sentences.append(f"{file.name} belongs to another container (pid namespace {namespace}) and was left")
    elif not runner.is_alive():
        # A path is believed only if it bears the name of its own run.
        own = [path for path in dict.fromkeys(groups) if path.name == f"{PREFIX}{runner}"]
        found[runner] = _Leftover(runner, own, enabled, sessions, file)


def _clean(leftover: _Leftover) -> str:
    name = f"a run that was not stopped (runner {leftover.runner.pid}, gone)"
    hidden = [path for path in leftover.groups if 0 in members(path)]
    if hidden:
        return f"{name}: {hidden[0]} holds processes of another container and was left"
    # A leader that is still itself proves its session; taken now, since it is among the first to be ended.
    sessions = {leader.pid for leader in leftover.sessions if leader.is_alive()}
    try:
        roles = _roles(leftover)
        killed = kill_until_empty(lambda: _processes(leftover, sessions), 5.0, name)
        removed = sum(remove(path) for path in leftover.groups)
        for path in leftover.groups:
            take_back(path.parent, leftover.enabled.get(str(path.parent), ()))
    except (OSError, GroupStuck) as error:
        return f"{name}: could not be cleaned up: {error}"
    if leftover.file is not None:
        leftover.file.unlink(missing_ok=True)
    what = f"{killed} process{'' if killed == 1 else 'es'}" + (f" ({', '.join(roles)})" if roles else "")
    sentence = f"cleaned up after {name}: ended {what}, removed {removed} group{'' if removed == 1 else 's'}"
    if unproven := _unproven(leftover, sessions):
        sentence += f"; left alone, because nothing proves that they are its own: processes {unproven}"
    return sentence


def _processes(leftover: _Leftover, sessions: set[int]) -> list[int]:
    """In its groups, with its mark, or in a session of which it is proven that the run started it."""
    found = {pid for path in leftover.groups for pid in members(path)}
    found |= {pid for pid, runner in _marks() if runner == leftover.runner}
    found |= {stat.pid for stat in all_stats() if stat.session in sessions and not stat.is_dead}
    return sorted(found - {os.getpid()})


def _unproven(leftover: _Leftover, sessions: set[int]) -> list[int]:
    """Members of a recorded session whose leader is gone and that bear no mark: the number may be another's by now."""
    suspects = {leader.pid: leader.start_ticks for leader in leftover.sessions if leader.pid not in sessions}
    return [
        stat.pid
        for stat in all_stats()
        if not stat.is_dead and stat.start_ticks >= suspects.get(stat.session, stat.start_ticks + 1)
    ]


def _roles(leftover: _Leftover) -> list[str]:
    names = {role.name for path in leftover.groups for role in path.glob("*/") if role.is_dir() and members(role)}
    return sorted(names)


def _marks() -> Iterable[tuple[int, ProcessId]]:
    for stat in all_stats():
        if not stat.is_dead and (text := marker(stat.pid, RUN_MARKER)) and (runner := ProcessId.parse(text)):
            yield stat.pid, runner


def _dead_marks() -> list[ProcessId]:
    runners = {runner for _, runner in _marks()}
    return [runner for runner in runners if not runner.is_alive()]


def _lab_groups(mounts: Iterable[Path]) -> list[Path]:
    """Directories named `gateway-lab-…` in any hierarchy, not looked for below one that was found."""
    found: list[Path] = []
    for mount in mounts:
        base = len(mount.parts)
        for directory, names, _ in os.walk(mount):
            found.extend(Path(directory, name) for name in names if name.startswith(PREFIX))
            deep = len(Path(directory).parts) - base >= WALK_DEPTH
            names[:] = [] if deep else [name for name in names if not name.startswith(PREFIX)]
    return found


def _pid_namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
