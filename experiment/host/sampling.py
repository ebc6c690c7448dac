"""What each role uses, once a second and at exact moments, read from outside through its group and /proc.
What could not be read is None, and empty in the CSV. Nothing is judged here.
"""

from __future__ import annotations

import csv
import os
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import anyio

from experiment.host.limits import RoleGroup, RunningTotal
from experiment.host.procfs import read_bytes

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
INTERVAL_S = 1.0
DEAR_COST_MS = 1.5
"""Reading a role's threads and descriptors may cost this much; dearer, it is done in every second, third … sample."""

_SWITCHES = re.compile(rb"^voluntary_ctxt_switches:\s+(\d+)\nnonvoluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Snapshot:
    """One role at one moment (`at_s`: CLOCK_MONOTONIC). Counters run from the start of the group (CPU,
    throttling) or of each thread (switches, run-queue wait: kernel.org sched-stats, schedstat field 2)."""

    at_s: float
    role: str
    cpu_us: int | None = None
    user_us: int | None = None
    system_us: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_us: int | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    run_wait_ns: int | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None
    rss_bytes: int | None = None
    processes: int | None = None
    threads: int | None = None
    descriptors: int | None = None


@dataclass(frozen=True)
class HostSnapshot:
    """The whole machine: TCP socket memory (which v1 memory groups and RSS leave out), run queue average,
    and what this sample cost."""

    tcp_memory_bytes: int | None = None
    load_1m: float | None = None
    sample_cost_ms: float | None = None


COUNTERS = (
    "cpu_us",
    "user_us",
    "system_us",
    "periods",
    "throttled_periods",
    "throttled_us",
    "voluntary_switches",
    "involuntary_switches",
    "run_wait_ns",
    "oom_kills",
)
GAUGES = ("memory_bytes", "rss_bytes", "processes", "threads", "descriptors")
COLUMNS = tuple(field.name for kind in (Snapshot, HostSnapshot) for field in fields(kind))


def window(first: Snapshot, last: Snapshot, between: Iterable[Snapshot] = ()) -> dict[str, float | int | None]:
    """Differences of the counters, `wall_s`, of each gauge the largest value seen (`<name>_max`), and
    `memory_peak_bytes`, the kernel's own since the group was made.

    A difference with an unknown end is None, and so is one of a counter that fell (its group was another).
    """
    result: dict[str, float | int | None] = {"wall_s": last.at_s - first.at_s}
    for name in COUNTERS:
        before, after = getattr(first, name), getattr(last, name)
        known = before is not None and after is not None and after >= before
        result[name] = after - before if known else None
    seen = [first, *(row for row in between if first.at_s <= row.at_s <= last.at_s), last]
    for name in GAUGES:
        values = [value for row in seen if (value := getattr(row, name)) is not None]
        result[f"{name}_max"] = max(values) if values else None
    result["memory_peak_bytes"] = last.memory_peak_bytes
    return result


class Sampler:
    """Writes resources.csv: a row per role and second, and one for the role "host".

    Runs in the runner's loop, in one task (`run`); not for use from several threads.
    """

    def __init__(self, groups: Iterable[RoleGroup], csv_path: Path) -> None:
        self._groups = {group.role: group for group in groups}
        self._dear = {role: _DearReadings() for role in self._groups}
        self._rows: dict[str, list[Snapshot]] = {role: [] for role in self._groups}
        self._csv_path = csv_path

    def snapshot(self, role: str) -> Snapshot:
        """Everything about one role, now."""
        return self._read(role, exact=True)

    def window(self, first: Snapshot, last: Snapshot) -> dict[str, float | int | None]:
        """`window` with the rows sampled in between."""
        return window(first, last, self._rows[first.role])

    async def run(self) -> None:
        """Samples on a grid of one second until cancelled; a late sample shifts no later one."""
        with self._csv_path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            due_s = time.monotonic()
            while True:
                writer.writerows(self.sample())
                file.flush()
                due_s = max(due_s + INTERVAL_S, time.monotonic())
                await anyio.sleep(due_s - time.monotonic())

    def sample(self) -> list[Mapping[str, Any]]:
        """One row per role and one for the host, as they go into the CSV."""
        began_s = time.monotonic()
        rows: list[Mapping[str, Any]] = []
        for role in self._groups:
            row = self._read(role, exact=False)
            self._rows[role].append(row)
            rows.append(asdict(row))
        cost_ms = (time.monotonic() - began_s) * 1000
        host = HostSnapshot(tcp_memory_bytes(), load_1m(), round(cost_ms, 3))
        rows.append({"at_s": began_s, "role": "host", **asdict(host)})
        return rows

    def _read(self, role: str, exact: bool) -> Snapshot:
        group = self._groups[role]
        at_s = time.monotonic()
        usage = group.usage()
        pids = group.pids(max_age_s=0.0 if exact else 5.0)
        if not pids:
            return Snapshot(at_s, role, **asdict(usage), processes=0)
        dear = self._dear[role].read(pids, exact)
        return Snapshot(
            at_s,
            role,
            **asdict(usage),
            **dear,
            rss_bytes=_sum(_rss_bytes(pid) for pid in pids),
            processes=len(pids),
        )


class _DearReadings:
    """Counters of a role's threads, summed over those that live and those that have ended since they were seen,
    and its open descriptors: what costs most, and is left out of some samples (None) so as not to disturb."""

    def __init__(self) -> None:
        self._voluntary, self._involuntary, self._wait = RunningTotal(), RunningTotal(), RunningTotal()
        self._skip = 0
        self._skipped = 0

    def read(self, pids: list[int], exact: bool) -> dict[str, int | None]:
        if not exact and self._skipped < self._skip:
            self._skipped += 1
            return {}
        self._skipped = 0
        began_s = time.monotonic()
        voluntary: dict[object, int] = {}
        involuntary: dict[object, int] = {}
        wait: dict[object, int] = {}
        threads = 0
        for path in _thread_paths(pids):
            threads += 1
            if match := _SWITCHES.search(read_bytes(f"{path}/status") or b""):
                voluntary[path], involuntary[path] = int(match[1]), int(match[2])
            if raw := read_bytes(f"{path}/schedstat"):
                wait[path] = int(raw.split()[1])
        descriptors = _sum(_descriptors(pid) for pid in pids)
        self._skip = int((time.monotonic() - began_s) * 1000 / DEAR_COST_MS)
        return {
            "voluntary_switches": self._voluntary.update(voluntary) if voluntary else None,
            "involuntary_switches": self._involuntary.update(involuntary) if involuntary else None,
            "run_wait_ns": self._wait.update(wait) if wait else None,
            "threads": threads or None,
            "descriptors": descriptors,
        }


def tcp_memory_bytes() -> int | None:
    """Pages in /proc/net/sockstat's TCP line (this network namespace's view of the machine's), in bytes."""
    match = re.search(rb"^TCP: .*\bmem (\d+)", read_bytes("/proc/net/sockstat") or b"", re.MULTILINE)
    return int(match[1]) * PAGE_BYTES if match else None


def load_1m() -> float | None:
    raw = read_bytes("/proc/loadavg")
    return float(raw.split()[0]) if raw else None


def _thread_paths(pids: list[int]) -> list[str]:
    found: list[str] = []
    for pid in pids:
        with suppress(OSError):
            found.extend(f"/proc/{pid}/task/{tid}" for tid in os.listdir(f"/proc/{pid}/task"))
    return found


def _rss_bytes(pid: int) -> int | None:
    """Resident pages; those that processes share count in each."""
    raw = read_bytes(f"/proc/{pid}/statm")
    return int(raw.split()[1]) * PAGE_BYTES if raw else None


def _descriptors(pid: int) -> int | None:
    """Since Linux 6.2 the size of the directory is its number of entries; before, they must be listed."""
    try:
        return os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
