"""What of this machine would disturb a run, and how to mend each. Judges facts (`experiment.host.facts`); reads little.

The same findings are shown by `make doctor`, before every run, and in a run's manifest.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from experiment.host import CpuPlan

DESCRIPTORS = 4096
"""Descriptors that a role should be able to hold where nobody says how many sessions come: one each, with room."""
SPARE_DESCRIPTORS = 256
IDLE_LOAD = 0.5
NOTABLE_STEAL = 0.01
"""A hypervisor that takes this share of a CPU is named."""
WANTED_CONTROLLERS = frozenset({"cpu", "cpuset", "memory"})
SPOILING_LOAD = 3.0
"""A load average of this many per core spoils most points; nothing is refused: the gates decide."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact: fine, something to know, or missing so that a run cannot be had."""

    state: Literal["ok", "note", "missing"]
    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.found}" + (f" — {self.mend}" if self.mend else "")


def findings(machine: Mapping[str, Any], plans: Collection[CpuPlan] = (), sessions: int | None = None) -> list[Finding]:
    """Everything that is looked at. `plans` (of all rows) and `sessions` (the most expected) sharpen it where a run is
    at hand."""
    return [
        _cores(machine),
        _cgroups(machine),
        _outer_quotas(machine),
        _descriptors(machine, sessions),
        _ports(machine, sessions),
        _governor(machine),
        _turbo(machine),
        _steal(machine),
        _load(machine),
        _swap(machine),
        _siblings(machine, plans),
        *(_shared(plan) for plan in dict.fromkeys(plans)),
    ]


def disturbances(found: list[Finding]) -> list[Finding]:
    """Those that are not fine."""
    return [finding for finding in found if finding.state != "ok"]


def as_facts(found: list[Finding]) -> list[dict[str, str]]:
    """For the manifest."""
    return [asdict(finding) for finding in disturbances(found)]


def _cores(machine: Mapping[str, Any]) -> Finding:
    cores = len(machine["cpus_usable"])
    if cores >= 2:
        return Finding("ok", "cores", f"{cores} usable")
    return Finding(
        "missing", "cores", f"{cores} usable", "gateway and harness need a core each: use a machine with two"
    )


def _cgroups(machine: Mapping[str, Any]) -> Finding:
    if set(machine["cgroup_controllers"]) >= WANTED_CONTROLLERS:
        return Finding("ok", "cgroups", machine["cgroup_explained"])
    mend = (
        "run as root, or delegated: systemd-run --user --scope -p Delegate=yes make …; "
        "until then CPU affinity is used, without quotas"
    )
    return Finding("note", "cgroups", machine["cgroup_explained"], mend)


def _outer_quotas(machine: Mapping[str, Any]) -> Finding:
    quotas = [f"{quota['vcpus']:g} vCPU (group {quota['group']})" for quota in machine["outer_quotas"]]
    if not quotas:
        return Finding("ok", "outer CPU quotas", "none seen")
    mend = "a point that it throttles is INVALID: lift it (docker run without --cpus, a pod without a CPU limit)"
    return Finding("note", "outer CPU quotas", ", ".join(quotas), mend)


def _descriptors(machine: Mapping[str, Any], sessions: int | None) -> Finding:
    needed = DESCRIPTORS if sessions is None else sessions + SPARE_DESCRIPTORS
    hard = machine["open_files_hard"]
    found = "no limit" if hard < 0 else f"at most {hard} a process"
    if hard < 0 or hard >= needed:
        return Finding("ok", "open files", found)
    return Finding("missing", "open files", found, f"ulimit -Hn {needed * 4}, or nofile in limits.conf")


def _ports(machine: Mapping[str, Any], sessions: int | None) -> Finding:
    bounds = machine["ephemeral_ports"]
    if bounds is None:
        return Finding("note", "ephemeral ports", "not visible here")
    ports = bounds[1] - bounds[0] + 1
    # Each session takes one, and so does each connection to the inference server.
    needed = 2 * (sessions or DESCRIPTORS)
    if ports >= needed:
        return Finding("ok", "ephemeral ports", f"{ports}")
    mend = f"{needed} are wanted: sysctl net.ipv4.ip_local_port_range='1024 65535'"
    return Finding("note", "ephemeral ports", f"{ports}", mend)


def _governor(machine: Mapping[str, Any]) -> Finding:
    governor = machine["governor"]
    if governor in (None, "performance"):
        return Finding("ok", "frequency governor", governor or "not visible here")
    return Finding("note", "frequency governor", governor, "set it to performance while you measure")


def _turbo(machine: Mapping[str, Any]) -> Finding:
    turbo = machine["turbo"]
    if turbo in (None, "off"):
        return Finding("ok", "turbo", turbo or "not visible here")
    mend = "the clock follows load and heat: switch it off while you measure (intel_pstate/no_turbo or cpufreq/boost)"
    return Finding("note", "turbo", turbo, mend)


def _steal(machine: Mapping[str, Any]) -> Finding:
    shares = machine["steal_share"]
    if shares is None:
        return Finding("ok", "steal time", "not visible here")
    if taken := notable_steal(shares):
        return Finding("note", "steal time", f"{taken} since boot", "take a machine whose CPUs are not shared")
    return Finding("ok", "steal time", f"under {NOTABLE_STEAL:.0%} since boot")


def notable_steal(shares: Mapping[str, float]) -> str | None:
    """The CPUs of which a hypervisor took a share worth a word."""
    notable = [f"{share:.1%} of CPU {cpu}" for cpu, share in shares.items() if share >= NOTABLE_STEAL]
    return ", ".join(notable) or None


def _load(machine: Mapping[str, Any]) -> Finding:
    load = machine["load_average"][0]
    if load <= IDLE_LOAD:
        return Finding("ok", "load average", f"{load:.2f}")
    spoilt = load > SPOILING_LOAD * (machine["cpus"] or 1)
    mend = "end what else runs: figures taken beside it are not yours" + (
        "; most points will be INVALID" if spoilt else ""
    )
    return Finding("note", "load average", f"{load:.2f}", mend)


def _swap(machine: Mapping[str, Any]) -> Finding:
    swap_bytes = machine["swap_bytes"]
    if not swap_bytes:
        return Finding("ok", "swap", "none")
    return Finding("note", "swap", f"{swap_bytes / 2**20:.0f} MiB", "swapoff -a while you measure")


def _siblings(machine: Mapping[str, Any], plans: Collection[CpuPlan]) -> Finding:
    groups = machine["cpus_sharing_a_core"]
    if groups is None:
        return Finding("ok", "hardware threads", "topology not visible here")
    if not groups:
        return Finding("ok", "hardware threads", "every CPU seen has a core of its own")
    text = ", ".join("+".join(str(cpu) for cpu in group) for group in groups)
    crossed = any(plan.gateway & set(group) and plan.harness & set(group) for plan in plans for group in groups)
    if plans and not crossed:
        idle = sorted({cpu for plan in plans for cpu in plan.idle})
        stays = f"; idle: {', '.join(map(str, idle))}" if idle else ""
        return Finding("ok", "hardware threads", f"{text} share a core, gateway and harness do not{stays}")
    mend = "the harness takes part of the gateway's core: taskset make to one CPU of each, or switch SMT off"
    return Finding("note", "hardware threads", f"{text} share a core", mend)


def _shared(plan: CpuPlan) -> Finding:
    where = f"gateway on {sorted(plan.gateway)}, harness on {sorted(plan.harness)}"
    if not plan.gateway & plan.harness:
        return Finding("ok", "cores of a run", where)
    return Finding("note", "cores of a run", where, "they share cores: a shape with fewer vCPUs, or a larger machine")
