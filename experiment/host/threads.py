"""What the scheduler did to each thread of some processes between two looks: reads /proc, changes nothing.

Sources: proc_pid_stat(5), proc_pid_status(5), and schedstat as in the kernel's sched-stats documentation.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from experiment.host.procfs import CLOCK_TICKS_PER_S

_VOLUNTARY = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)
_INVOLUNTARY = re.compile(r"^nonvoluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)
_TICK_MS = 1000 / CLOCK_TICKS_PER_S


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """Counters of one thread since it began. None: the kernel does not tell."""

    name: str
    on_cpu_ms: float | None
    """Nanosecond clock of the scheduler."""
    run_queue_wait_ms: float | None
    """Runnable, but another thread had the core."""
    user_ms: float
    system_ms: float
    """In clock ticks: coarse."""
    voluntary_switches: int | None
    involuntary_switches: int | None


def thread_times(pids: Iterable[int], proc: Path = Path("/proc")) -> dict[str, ThreadTimes]:
    """Every thread by "pid/tid"; one that ends while it is read is left out."""
    found = {}
    for pid in pids:
        try:
            threads = sorted((proc / str(pid) / "task").iterdir())
        except OSError:
            continue
        for thread in threads:
            try:
                found[f"{pid}/{thread.name}"] = _read(thread)
            except OSError:
                continue
    return found


def _read(thread: Path) -> ThreadTimes:
    stat = (thread / "stat").read_text()
    # The name may hold spaces and brackets: count fields from the last bracket.
    values = stat[stat.rindex(")") + 2 :].split()
    status = (thread / "status").read_text()
    try:
        on_cpu_ns, wait_ns, _ = (thread / "schedstat").read_text().split()
    except (OSError, ValueError):
        on_cpu_ns = wait_ns = ""
    return ThreadTimes(
        name=stat[stat.index("(") + 1 : stat.rindex(")")],
        on_cpu_ms=int(on_cpu_ns) / 1e6 if on_cpu_ns else None,
        run_queue_wait_ms=int(wait_ns) / 1e6 if wait_ns else None,
        user_ms=int(values[11]) * _TICK_MS,
        system_ms=int(values[12]) * _TICK_MS,
        voluntary_switches=_number(_VOLUNTARY, status),
        involuntary_switches=_number(_INVOLUNTARY, status),
    )


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return int(match[1]) if match else None


def times_between(first: dict[str, ThreadTimes], last: dict[str, ThreadTimes]) -> list[dict[str, Any]]:
    """What each thread of the last look used since the first; one that began in between counts from its start.
    Busiest first."""
    rows = []
    for key, now in last.items():
        before = asdict(first[key]) if key in first else {}
        row: dict[str, Any] = {"thread": key, "name": now.name, "began_in_window": key not in first}
        for field in fields(ThreadTimes)[1:]:
            value, start = getattr(now, field.name), before.get(field.name, 0)
            row[field.name] = None if value is None or start is None else value - start
        rows.append(row)
    return sorted(rows, key=lambda row: -(row["on_cpu_ms"] or row["user_ms"] + row["system_ms"]))
