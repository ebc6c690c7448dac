"""The CPUs that a run uses: what sets their clock, which share a core, what a hypervisor took of them. Only looks; a
virtual machine shows little of it, and what is not shown is None.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from experiment.host.cpus.layout import Cpu
from experiment.host.procfs import read_bytes

SYSTEM = Path("/sys/devices/system/cpu")
STAT = Path("/proc/stat")
_TIMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""Columns of /proc/stat that add up. Guest time is in user."""


def governor(cpus: Collection[int], system: Path = SYSTEM) -> str | None:
    """What chooses their frequency: "performance", or, where they differ, "performance on 0, 1; powersave on 2"."""
    return _in_words({cpu: _text(system / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus})


def turbo(cpus: Collection[int], system: Path = SYSTEM) -> str | None:
    """Whether they may go above their nominal frequency: "on", "off", or each with its CPUs where they differ."""
    return _in_words({cpu: _turbo(cpu, system) for cpu in cpus})


def sibling_groups(cpus: Collection[int], system: Path = SYSTEM) -> list[list[int]] | None:
    """CPUs that are hardware threads of one core; [] where every CPU has a core of its own."""
    groups = set()
    for cpu in cpus:
        text = _text(system / f"cpu{cpu}/topology/thread_siblings_list")
        if text is None:
            return None
        groups.add(tuple(_parse_cpus(text)))
    return [list(group) for group in sorted(groups) if len(group) > 1]


def topology(cpus: Collection[int], system: Path = SYSTEM) -> tuple[Cpu, ...]:
    """What is shown of each: its physical core, memory node, and kind of core by `cpu_capacity`, else by its highest
    frequency. A CPU of which nothing is shown has a core of its own, on node 0."""
    speeds = {number: _speed(system / f"cpu{number}") for number in sorted(cpus)}
    kinds = _kinds(speeds.values())
    found = []
    for number, speed in speeds.items():
        folder = system / f"cpu{number}"
        siblings = _text(folder / "topology/thread_siblings_list")
        nodes = [int(path.name.removeprefix("node")) for path in folder.glob("node[0-9]*")]
        core = number if siblings is None else min(_parse_cpus(siblings))
        found.append(Cpu(number, core, min(nodes, default=0), kinds[speed]))
    return tuple(found)


def _speed(folder: Path) -> int:
    """In a unit of its own; 0 where none is shown."""
    text = _text(folder / "cpu_capacity") or _text(folder / "cpufreq/cpuinfo_max_freq") or ""
    return int(text) if text.isdecimal() else 0


def _kinds(speeds: Iterable[int]) -> dict[int, int]:
    """Speeds by kind of core, numbered from the slowest. Cores of one kind differ a little where some may be clocked
    higher than others: a step of more than a tenth is another kind."""
    kinds: dict[int, int] = {}
    kind, before = 0, None
    for speed in sorted(set(speeds)):
        kind += before is not None and speed > before * 1.1
        kinds[speed], before = kind, speed
    return kinds


def cpu_ticks(cpus: Collection[int], stat: Path = STAT) -> dict[int, dict[str, int]]:
    """Of each CPU, since the machine started: clock ticks by what they were spent on (proc_stat(5))."""
    found = {}
    for line in (read_bytes(str(stat)) or b"").decode().splitlines():
        name, *words = line.split()
        number = name.removeprefix("cpu")
        if number.isdecimal() and int(number) in cpus and len(words) >= len(_TIMES):
            found[int(number)] = {key: int(word) for key, word in zip(_TIMES, words, strict=False)}
    return found


def steal_ticks(cpus: Collection[int], stat: Path = STAT) -> dict[int, tuple[int, int]] | None:
    """Of each CPU, since the machine started: ticks that the hypervisor gave to others though it had work, and all."""
    return {cpu: (ticks["steal"], sum(ticks.values())) for cpu, ticks in cpu_ticks(cpus, stat).items()} or None


def steal_share(
    first: Mapping[int, tuple[int, int]] | None, last: Mapping[int, tuple[int, int]] | None
) -> dict[str, float] | None:
    """Between two readings, by CPU (a key of JSON); None where one of them, or any time between them, is missing."""
    if first is None or last is None:
        return None
    spans = {cpu: (last[cpu][0] - first[cpu][0], last[cpu][1] - first[cpu][1]) for cpu in first.keys() & last.keys()}
    return {str(cpu): round(steal / all_, 5) for cpu, (steal, all_) in sorted(spans.items()) if all_ > 0} or None


def _turbo(cpu: int, system: Path) -> str | None:
    """A CPU's own switch, the machine's, or Intel's, which is the other way round."""
    boost = _text(system / f"cpu{cpu}/cpufreq/boost") or _text(system / "cpufreq/boost")
    if boost is None and (no_turbo := _text(system / "intel_pstate/no_turbo")) is not None:
        boost = "1" if no_turbo == "0" else "0"
    return None if boost is None else "off" if boost == "0" else "on"


def _in_words(values: Mapping[int, str | None]) -> str | None:
    by_value: dict[str, list[int]] = {}
    for cpu, value in sorted(values.items()):
        by_value.setdefault(value or "not visible", []).append(cpu)
    if len(by_value) == 1:
        return next(iter(values.values()))
    return "; ".join(f"{value} on {', '.join(map(str, cpus))}" for value, cpus in by_value.items()) or None


def _parse_cpus(text: str) -> list[int]:
    """`"0-2,8"` → [0, 1, 2, 8]."""
    bounds = (part.partition("-") for part in text.split(","))
    return [cpu for first, _, last in bounds for cpu in range(int(first), int(last or first) + 1)]


def _text(path: Path) -> str | None:
    return (read_bytes(str(path)) or b"").decode(errors="replace").strip() or None
