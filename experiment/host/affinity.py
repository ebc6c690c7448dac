"""A role's processes where cgroups cannot be written: pinned by CPU affinity, found by session and by the mark
they carry in their environment. It has no quota and no memory limit, and says so. It touches no cgroup.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from experiment.host.limits import Limits, OneRole, RunningTotal, ShapeRefused, Usage, kill_until_empty
from experiment.host.procfs import (
    CLOCK_TICKS_PER_S,
    ROLE_MARKER,
    ProcessId,
    ProcessStat,
    all_stats,
    marker,
    markers,
    read_stat,
)

_PIN = """\
import os, sys
try:
    os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    print(f"gateway-lab: cannot start {sys.argv[2]} on CPUs {sys.argv[1]}: {error}", file=sys.stderr)
    sys.exit(127)
"""


def pinning(cpus: frozenset[int], argv: Sequence[str]) -> list[str]:
    """The command line that pins itself to `cpus` and becomes `argv` (taskset is not everywhere; Python is)."""
    return [sys.executable, "-I", "-S", "-c", _PIN, ",".join(map(str, sorted(cpus))), *argv]


class AffinityGroup(OneRole):
    """The interface of a cgroup, as far as sessions and affinity carry it."""

    def __init__(self, run: ProcessId, role: str, limits: Limits, why: str) -> None:
        """`why`: the sentence on why there is no cgroup. Raises ShapeRefused for a quota."""
        if limits.quota_vcpus is not None:
            raise ShapeRefused(f"{role}: a quota of {limits.quota_vcpus:g} vCPU needs a cgroup. {why}")
        self._sessions: dict[int, int] = {}  # session → start ticks of its leader
        self._user = RunningTotal()
        self._system = RunningTotal()
        self._found: tuple[float, list[int]] = (float("-inf"), [])
        notes = [
            f"{role}: no cgroup ({why}); processes are found by session",
            f"{role}: CPU time is summed over living processes in steps of {1000 // CLOCK_TICKS_PER_S} ms; what a "
            "process used between the last sample and its end is lost",
        ]
        if limits.cpus is not None:
            notes.append(f"{role}: pinned by CPU affinity, which a process may undo")
        if limits.memory_bytes is not None:
            notes.append(f"{role}: the memory limit of {limits.memory_bytes} bytes is not kept; RSS is recorded")
        super().__init__(role, limits, notes, markers(run, role))
        self._mark = self.environment[ROLE_MARKER]

    def launcher(self, argv: Sequence[str]) -> list[str]:
        return list(argv) if self._limits.cpus is None else pinning(self._limits.cpus, argv)

    def started(self, pid: int) -> None:
        if (stat := read_stat(pid)) is not None:
            self._sessions[pid] = stat.start_ticks
        self._found = (float("-inf"), [])

    def pids(self, max_age_s: float = 0.0) -> list[int]:
        """Living members of the sessions started here; each answer not taken from the last one reads all of /proc."""
        at_s, found = self._found
        now_s = time.monotonic()
        if now_s - at_s > max_age_s:
            found = sorted(stat.pid for stat in all_stats() if self._is_member(stat))
            self._found = (now_s, found)
        return found

    def usage(self) -> Usage:
        """CPU time only."""
        user: dict[object, int] = {}
        system: dict[object, int] = {}
        for pid in self.pids(max_age_s=2.0):
            if (stat := read_stat(pid)) is not None:
                user[stat.id], system[stat.id] = stat.user_ticks, stat.system_ticks
        user_us = self._user.update(user) * 1_000_000 // CLOCK_TICKS_PER_S
        system_us = self._system.update(system) * 1_000_000 // CLOCK_TICKS_PER_S
        return Usage(cpu_us=user_us + system_us, user_us=user_us, system_us=system_us)

    def place_threads(self, placements: Sequence[tuple[int, Limits]]) -> None:
        raise ShapeRefused(f"{self._role}: a quota for each thread needs cgroups")

    def kill(self, timeout_s: float = 5.0) -> int:
        """Also finds processes that left the session, by their mark."""
        killed = kill_until_empty(self._marked, timeout_s, f"role {self._mark}")
        self._sessions.clear()
        return killed

    def _is_member(self, stat: ProcessStat) -> bool:
        """A session's number is not given away while it has members; the start times are for when it has none."""
        leader_ticks = self._sessions.get(stat.session)
        if leader_ticks is None or stat.is_dead:
            return False
        return stat.start_ticks == leader_ticks if stat.pid == stat.session else stat.start_ticks >= leader_ticks

    def _marked(self) -> list[int]:
        return [
            stat.pid
            for stat in all_stats()
            if self._is_member(stat) or (not stat.is_dead and marker(stat.pid, ROLE_MARKER) == self._mark)
        ]
