"""The CPUs of a run: what they are, who gets which, how fast they are just now, what they were busy with. Re-exports
only."""

from experiment.host.cpus.busy import CoresReading, busy_between, notable, read_cores
from experiment.host.cpus.core_speed import PAUSE_S, core_speed
from experiment.host.cpus.facts import governor, sibling_groups, steal_share, steal_ticks, topology, turbo
from experiment.host.cpus.layout import Cpu, CpuPlan, HarnessLayout, cpu_plan, deal, needed

__all__ = [
    "PAUSE_S",
    "CoresReading",
    "Cpu",
    "CpuPlan",
    "HarnessLayout",
    "busy_between",
    "core_speed",
    "cpu_plan",
    "deal",
    "governor",
    "needed",
    "notable",
    "read_cores",
    "sibling_groups",
    "steal_share",
    "steal_ticks",
    "topology",
    "turbo",
]
