"""The host side of the runner: CPUs, groups, processes, what they use, and what a killed run left. Re-exports only."""

from experiment.host.above import OuterQuota
from experiment.host.affinity import AffinityGroup
from experiment.host.cgroups import Group, make_group
from experiment.host.contents import contents
from experiment.host.cpus import (
    PAUSE_S,
    CoresReading,
    Cpu,
    CpuPlan,
    HarnessLayout,
    busy_between,
    core_speed,
    cpu_plan,
    deal,
    needed,
    notable,
    read_cores,
    steal_share,
    steal_ticks,
    topology,
)
from experiment.host.environment import RoleEnvironment, role_environment
from experiment.host.hierarchies import CgroupHost, detect
from experiment.host.limits import GroupStuck, Limits, RoleGroup, ShapeRefused, Usage
from experiment.host.machine import facts, raise_descriptor_limit, usable_cpus
from experiment.host.network import CannotSteer, Network, cannot_steer
from experiment.host.processes import Command, Exit, Role
from experiment.host.procfs import named_threads
from experiment.host.registry import Run, clean_leftovers
from experiment.host.sampling import Sampler, Snapshot, window
from experiment.host.threads import ThreadTimes, thread_times, times_between

__all__ = [
    "PAUSE_S",
    "AffinityGroup",
    "CannotSteer",
    "CgroupHost",
    "Command",
    "CoresReading",
    "Cpu",
    "CpuPlan",
    "Exit",
    "Group",
    "GroupStuck",
    "HarnessLayout",
    "Limits",
    "Network",
    "OuterQuota",
    "Role",
    "RoleEnvironment",
    "RoleGroup",
    "Run",
    "Sampler",
    "ShapeRefused",
    "Snapshot",
    "ThreadTimes",
    "Usage",
    "busy_between",
    "cannot_steer",
    "clean_leftovers",
    "contents",
    "core_speed",
    "cpu_plan",
    "deal",
    "detect",
    "facts",
    "make_group",
    "named_threads",
    "needed",
    "notable",
    "raise_descriptor_limit",
    "read_cores",
    "role_environment",
    "steal_share",
    "steal_ticks",
    "thread_times",
    "times_between",
    "topology",
    "usable_cpus",
    "window",
]
