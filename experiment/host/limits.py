"""What a role may use, what it has used, and the interface that every kind of group offers.
No file is touched here: cgroups.py and affinity.py do that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

DEFAULT_PERIOD_MS = 100.0
MIN_QUOTA_MS = 1.0
"""The kernel's smallest quota and smallest period (`min_cfs_quota_period`, kernel/sched/core.c)."""
MAX_PERIOD_MS = 1000.0
KILL_POLL_S = 0.005


class ShapeRefused(Exception):
    """The shape asked for cannot be given on this machine; the text says why, with the numbers."""


class GroupStuck(RuntimeError):
    """Processes that outlived SIGKILL: the text lists them."""


@dataclass(frozen=True)
class Limits:
    """CPUs by number, CPU time as a number of vCPUs per period, memory in bytes; None leaves one unlimited.

    Raises ShapeRefused for a quota that the kernel would refuse.
    """

    cpus: frozenset[int] | None = None
    quota_vcpus: float | None = None
    period_ms: float | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.cpus is not None and not self.cpus:
            raise ShapeRefused("a role needs at least one CPU; its CPU set is empty")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise ShapeRefused(f"memory must be more than 0 bytes, not {self.memory_bytes}")
        if self.quota_vcpus is None:
            return
        period_ms = self.period_ms or DEFAULT_PERIOD_MS
        quota_ms = self.quota_vcpus * period_ms
        # A hair of tolerance: 0.1 × 10 ms is the smallest quota, not 1e-16 less than it.
        if quota_ms < MIN_QUOTA_MS - 1e-9:
            raise ShapeRefused(
                f"{self.quota_vcpus:g} vCPU of every {period_ms:g} ms is {quota_ms:g} ms; the kernel's smallest quota "
                f"is {MIN_QUOTA_MS:g} ms. Take a period of at least {MIN_QUOTA_MS / self.quota_vcpus:g} ms"
                if self.quota_vcpus > 0
                else f"a quota must be more than 0 vCPU, not {self.quota_vcpus:g}"
            )
        if not MIN_QUOTA_MS <= period_ms <= MAX_PERIOD_MS:
            raise ShapeRefused(
                f"a quota's period of {period_ms:g} ms is outside the kernel's {MIN_QUOTA_MS:g} to {MAX_PERIOD_MS:g} ms"
            )

    def quota_us(self) -> tuple[int, int] | None:
        """(µs of CPU, µs of period), or None without a quota."""
        if self.quota_vcpus is None:
            return None
        period_us = round((self.period_ms or DEFAULT_PERIOD_MS) * 1000)
        return round(self.quota_vcpus * period_us), period_us


@dataclass(frozen=True)
class Usage:
    """Counters of a group since it was made (CPU, throttling) and its memory now. None: not known here."""

    cpu_us: int | None = None
    user_us: int | None = None
    system_us: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_us: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None


class RunningTotal:
    """The sum of counters whose owners come and go: what an owner had counted when last seen stays in the sum."""

    def __init__(self) -> None:
        self._gone = 0
        self._last: dict[object, int] = {}

    def update(self, now: dict[object, int]) -> int:
        """`now`: owner → its counter, for the living. Returns the total, which never falls."""
        for owner, value in self._last.items():
            # A smaller count under the same name is a new owner (thread numbers are used again).
            if owner not in now or now[owner] < value:
                self._gone += value
        self._last = now
        return self._gone + sum(now.values())


class RoleGroup(Protocol):
    """The processes of one role: started in it from their first instruction, counted by it, ended through it."""

    @property
    def role(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was asked for and is not kept or not counted here; for the manifest."""
        ...

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which its processes can be told from others', for the starter to set."""
        ...

    def launcher(self, argv: Sequence[str]) -> list[str]:
        """The command line that enters the group and then becomes `argv`, keeping its process number."""
        ...

    def started(self, pid: int) -> None:
        """Told by the starter: `pid` leads a new session in this group."""
        ...

    def pids(self, max_age_s: float = 0.0) -> list[int]:
        """Living processes. An answer up to `max_age_s` old may be given where finding them is dear."""
        ...

    def usage(self) -> Usage: ...

    def place_threads(self, placements: Sequence[tuple[int, Limits]]) -> None:
        """Gives each thread (by its number) CPUs and a quota of its own. Raises ShapeRefused where that cannot be."""
        ...

    def kill(self, timeout_s: float = 5.0) -> int:
        """Ends every process by SIGKILL, removes the group, says how many were killed. Blocks, at most
        `timeout_s`. May be called again. Raises GroupStuck when some survive."""
        ...


class OneRole:
    """What every kind of group knows of its role."""

    def __init__(self, role: str, limits: Limits, notes: Sequence[str], environment: dict[str, str]) -> None:
        self._role = role
        self._limits = limits
        self._notes = tuple(notes)
        self._environment = environment

    @property
    def role(self) -> str:
        return self._role

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes

    @property
    def environment(self) -> dict[str, str]:
        return self._environment


def kill_until_empty(members: Callable[[], Sequence[int]], timeout_s: float, name: str) -> int:
    """SIGKILL to all that `members` lists, again and again (they may be forking) until it lists none.

    Returns how many were killed. A process is signalled through a handle taken before its membership
    is looked up a second time, so a number that was used again meanwhile is never hit.
    """
    killed: set[int] = set()
    deadline_s = time.monotonic() + timeout_s
    while pids := [pid for pid in members() if pid > 0]:
        if time.monotonic() > deadline_s:
            raise GroupStuck(f"{name}: processes {sorted(pids)} still live {timeout_s:g} s after SIGKILL")
        handles = {pid: handle for pid in pids if (handle := _open_handle(pid)) is not None}
        still_here = set(members())
        for pid, handle in handles.items():
            try:
                if pid in still_here:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    killed.add(pid)
            except ProcessLookupError:
                pass
            finally:
                os.close(handle)
        time.sleep(KILL_POLL_S)
    return len(killed)


def _open_handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
