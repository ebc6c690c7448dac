"""All that ran on the gateway's CPUs, whoever it was for: tasks, interrupts, soft interrupts. Read from /proc at two
moments; the difference is pure. What could not be read is None.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiment.host.cpus.facts import STAT, cpu_ticks
from experiment.host.procfs import CLOCK_TICKS_PER_S, ProcessId, thread_stats

NOTABLE = 0.01
"""Work of others is named from this share of the CPUs' time on."""


@dataclass(frozen=True, slots=True)
class CoresReading:
    """CPUs at one moment (`at_s`: CLOCK_MONOTONIC)."""

    at_s: float
    ticks: dict[int, dict[str, int]]
    """`cpu_ticks`; empty where it cannot be read."""
    others: dict[ProcessId, tuple[str, int, int]] = field(default_factory=dict)
    """By thread, of all but the gateway's own: its name, its clock ticks of CPU time, the CPU that it last ran on."""


def read_cores(cpus: Collection[int], own: Collection[int], stat: Path = STAT) -> CoresReading:
    """Now. `own`: the gateway's processes."""
    others = {
        thread.id: (thread.name, thread.user_ticks + thread.system_ticks, thread.cpu)
        for process, thread in thread_stats()
        if process not in own
    }
    return CoresReading(time.monotonic(), cpu_ticks(cpus, stat), others)


def busy_between(first: CoresReading, last: CoresReading) -> dict[str, Any] | None:
    """What the CPUs did in between, JSON-ready; None where that is not known.

    `busy_s`: time that they were neither idle nor taken by a hypervisor. The kernel counts idle time by its clock, not
    by its tick (`get_cpu_idle_time_us`), so that this is exact to a clock tick (10 ms).
    `soft_interrupts_s`: time in soft interrupts and interrupts, as far as the kernel tells it apart: by its tick,
    unless it was built with IRQ_TIME_ACCOUNTING. `others`: threads of others that ran there, by name, in s of CPU time.
    """
    wall_s = last.at_s - first.at_s
    cpus = first.ticks.keys() & last.ticks.keys()
    if not cpus or wall_s <= 0:
        return None

    def spent_s(*columns: str) -> float:
        return (
            sum(last.ticks[cpu][name] - first.ticks[cpu][name] for cpu in cpus for name in columns) / CLOCK_TICKS_PER_S
        )

    return {
        "cpus": sorted(cpus),
        "wall_s": wall_s,
        "busy_s": max(0.0, wall_s * len(cpus) - spent_s("idle", "iowait", "steal")),
        "soft_interrupts_s": spent_s("irq", "softirq"),
        "others": _others(first, last, cpus),
    }


def notable(busy: dict[str, Any] | None) -> list[str]:
    """A sentence where others ran on the CPUs for more than little of the time."""
    if busy is None:
        return []
    all_s = busy["wall_s"] * len(busy["cpus"])
    named = [f"{name} {cpu_s:.2f} s" for name, cpu_s in busy["others"].items() if cpu_s >= NOTABLE * all_s]
    return [f"others ran on the gateway's CPUs in the measured window: {', '.join(named)}"] if named else []


def _others(first: CoresReading, last: CoresReading, cpus: Collection[int]) -> dict[str, float]:
    """By name, the most first. A thread that ended in between is not seen; one that moved counts where it was last."""
    found: dict[str, int] = {}
    for thread, (name, ticks, cpu) in last.others.items():
        spent = ticks - first.others.get(thread, (name, 0, cpu))[1]
        if spent > 0 and cpu in cpus:
            found[name] = found.get(name, 0) + spent
    return {name: spent / CLOCK_TICKS_PER_S for name, spent in sorted(found.items(), key=lambda one: -one[1])}
