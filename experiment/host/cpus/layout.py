"""Which CPUs a gateway and its harness get, as a pure function of the machine's topology, the shape and the numbers of
processes. Nothing is read or pinned here.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiment.host.limits import ShapeRefused


@dataclass(frozen=True, slots=True, order=True)
class Cpu:
    """One that may be used."""

    number: int
    core: int
    """The physical core, by the lowest number of its hardware threads."""
    node: int = 0
    """Of memory (NUMA)."""
    speed: int = 0
    """Larger is faster, where a machine has several kinds of core."""


@dataclass(frozen=True)
class CpuPlan:
    """CPU numbers of the gateway and of the harness (simulator and load generator); `shared` when they overlap though
    the shape does not have it so."""

    gateway: frozenset[int]
    harness: frozenset[int]
    shared: bool
    idle: frozenset[int] = field(default=frozenset(), compare=False)
    """Second hardware threads of the gateway's cores, which nobody gets."""
    order: tuple[int, ...] = field(default=(), compare=False)
    """Those that are the harness's alone, best first: the gateway's memory node, a core of its own, a fast one."""


@dataclass(frozen=True, slots=True)
class HarnessLayout:
    """How many processes carry a load, and on which CPU each of them is; None for wherever the harness may be."""

    load: tuple[int | None, ...]
    """One for each load worker."""
    simulators: tuple[int | None, ...]
    """One for each simulator process."""


def cpu_plan(
    vcpus: float,
    mode: Literal["cpuset", "quota"],
    cpus: Collection[Cpu],
    harness_shared: bool = False,
    threads: int | None = None,
) -> CpuPlan:
    """Who gets what of the usable `cpus`.

    The gateway takes whole physical cores, the fastest kind first, of one memory node as far as they go, the highest
    numbers first, and one hardware thread of each; the other threads of those cores stay idle as long as the harness
    has a CPU without them. Where there are too few cores it takes second threads. The harness has the rest.

    A quota of one vCPU or more is spread over half of the physical cores with all their threads (at least ceil(vcpus)
    CPUs, and never the last one), as a quota in production is; a smaller one goes on one CPU. With `threads`, each with
    a quota of its own, the gateway takes as many CPUs, and the harness may use all: that is part of such a shape.

    Raises ShapeRefused when no CPU would be left for the harness, unless `harness_shared`, and always when the gateway
    alone needs more CPUs than there are, or a cpuset a fraction of one.
    """
    if not cpus:
        raise ShapeRefused("no usable CPU was given")
    if not vcpus > 0 or not math.isfinite(vcpus):
        raise ShapeRefused(f"vCPUs must be a number above 0, not {vcpus:g}")
    if mode == "cpuset" and vcpus != int(vcpus):
        raise ShapeRefused(f"a cpuset is made of whole cores; {vcpus:g} vCPU needs mode quota")
    ranked = _ranked(cpus)
    if threads is not None:
        if threads > len(ranked):
            raise ShapeRefused(f"{threads} threads need a core each; {len(ranked)} can be used here")
        taken = ranked[:threads]
        return CpuPlan(_numbers(taken), _numbers(ranked), shared=False, order=_order(ranked, taken))
    need = math.ceil(vcpus)
    if need > len(ranked):
        raise ShapeRefused(f"{vcpus:g} vCPU needs {need} cores; {len(ranked)} can be used here")
    if need + 1 > len(ranked):
        if not harness_shared:
            raise ShapeRefused(
                f"{vcpus:g} vCPU needs {need} cores and one for the harness; {len(ranked)} can be used here. "
                "HARNESS=shared runs it all the same, labelled, and gives no ceiling"
            )
        taken = ranked[:need]
        return CpuPlan(_numbers(taken), _numbers(ranked), shared=True, order=_order(ranked, taken))
    taken = _spread(ranked, need) if mode == "quota" and vcpus >= 1 else ranked[:need]
    rest = [cpu for cpu in ranked if cpu not in taken]
    apart = [cpu for cpu in rest if cpu.core not in {each.core for each in taken}]
    harness = apart or rest
    idle = _numbers(cpu for cpu in rest if cpu not in harness)
    return CpuPlan(_numbers(taken), _numbers(harness), shared=False, idle=idle, order=_order(harness, taken))


def needed(sessions: int, us_per_session_second: float, share: float) -> int:
    """Processes that carry so many sessions, each busy for at most `share` of a CPU at that cost; at least 1."""
    return max(1, math.ceil(sessions * us_per_session_second / 1e6 / share))


def deal(order: Sequence[int], load: int, simulators: int) -> HarnessLayout:
    """A CPU for each process, of as many as are wanted and can be had; the runner keeps one where there are three or
    more. Where there is one CPU, or none is named, one process of each is not pinned any further."""
    spare = len(order) - (1 if len(order) > 2 else 0)
    while load + simulators > max(2, spare):
        if load >= simulators:
            load -= 1
        else:
            simulators -= 1
    if len(order) < 2:
        return HarnessLayout((None,) * load, (None,) * simulators)
    return HarnessLayout(tuple(order[simulators : simulators + load]), tuple(order[:simulators]))


def _ranked(cpus: Collection[Cpu]) -> list[Cpu]:
    """In the order in which the gateway takes them: first threads of all cores, the home node's fastest cores first."""
    fastest = max(cpu.speed for cpu in cpus)
    by_node = {node: len({c.core for c in cpus if c.node == node and c.speed == fastest}) for node in _nodes(cpus)}
    home = max(by_node, key=lambda node: (by_node[node], node))
    threads: dict[int, list[int]] = {}
    for cpu in sorted(cpus, reverse=True):
        threads.setdefault(cpu.core, []).append(cpu.number)
    return sorted(
        cpus,
        key=lambda cpu: (threads[cpu.core].index(cpu.number), -cpu.speed, cpu.node != home, -cpu.node, -cpu.number),
    )


def _spread(ranked: Sequence[Cpu], need: int) -> list[Cpu]:
    """The better half of the cores with all their threads, at least `need` CPUs, but never the last one."""
    cores = list(dict.fromkeys(cpu.core for cpu in ranked))
    taken: list[Cpu] = []
    for place, core in enumerate(cores):
        if place >= math.ceil(len(cores) / 2) and len(taken) >= need:
            break
        taken += [cpu for cpu in ranked if cpu.core == core]
    return taken[: len(ranked) - 1]


def _order(harness: Iterable[Cpu], gateway: Sequence[Cpu]) -> tuple[int, ...]:
    """Those of the harness alone, best first: nothing is pinned where the gateway is."""
    theirs, nodes = set(gateway), {cpu.node for cpu in gateway}
    own = (cpu for cpu in harness if cpu not in theirs)
    ordered = sorted(own, key=lambda cpu: (cpu.node not in nodes, -cpu.speed, cpu.number))
    taken: dict[int, int] = {}
    ranks = []
    for cpu in ordered:
        taken[cpu.core] = taken.get(cpu.core, 0) + 1
        ranks.append((cpu.node not in nodes, taken[cpu.core]))
    return tuple(cpu.number for _, cpu in sorted(zip(ranks, ordered, strict=True), key=lambda each: each[0]))


def _nodes(cpus: Collection[Cpu]) -> set[int]:
    return {cpu.node for cpu in cpus}


def _numbers(cpus: Iterable[Cpu]) -> frozenset[int]:
    return frozenset(cpu.number for cpu in cpus)
