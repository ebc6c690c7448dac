"""The CPUs of a run: what they are, how fast they are just now, what they were busy with. Re-exports only."""

from experiment.host.cpus.busy import CoresReading, busy_between, notable, read_cores
from experiment.host.cpus.core_speed import PAUSE_S, core_speed
from experiment.host.cpus.facts import governor, sibling_groups, steal_share, steal_ticks, turbo

__all__ = [
    "PAUSE_S",
    "CoresReading",
    "busy_between",
    "core_speed",
    "governor",
    "notable",
    "read_cores",
    "sibling_groups",
    "steal_share",
    "steal_ticks",
    "turbo",
]
