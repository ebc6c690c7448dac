"""`make doctor`: what an experiment needs, what this machine has of it, and how to mend what is missing. Only looks."""

import resource

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.config import load_config
from experiment.host import ShapeRefused, cpu_plan, facts, usable_cpus
from experiment.setup import survey

SESSIONS_DESCRIPTORS = 4096
"""Descriptors that a role should be able to hold: one per session and side, with room."""
IDLE_LOAD = 0.5

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}


def examine(console: Console) -> bool:
    """Print one row per fact; False if something is missing that an experiment cannot do without."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "what", "found", "how to mend it"):
        table.add_column(heading, overflow="fold")
    rows = [*_interpreters(), *_machine(), *_shapes()]
    for state, *cells in rows:
        table.add_row(_MARKS[state], *cells)
    console.print(table)
    return all(state != "missing" for state, *_ in rows)


Row = tuple[str, str, str, str]


def _interpreters() -> list[Row]:
    return [(finding.state, finding.what, finding.found, finding.mend) for finding in survey()]


def _machine() -> list[Row]:
    machine = facts()
    rows: list[Row] = [
        ("ok", "machine", f"{machine['cpu_model']}, {machine['virtualisation'] or 'no hypervisor seen'}", ""),
        ("ok", "kernel", f"{machine['system']} {machine['kernel']}", ""),
    ]
    cores = len(machine["cpus_usable"])
    state, mend = (
        ("ok", "") if cores >= 2 else ("missing", "gateway and harness need a core each: use a machine with two")
    )
    rows.append((state, "cores", f"{cores} usable", mend))
    wanted = {"cpu", "cpuset", "memory"}
    lacking = sorted(wanted - set(machine["cgroup_controllers"]))
    mend = (
        "run as root, or delegate cpu, cpuset and memory to this user; until then CPU affinity is used, without quotas"
    )
    rows.append(("note" if lacking else "ok", "cgroups", machine["cgroup_explained"], mend if lacking else ""))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = hard != resource.RLIM_INFINITY and hard < SESSIONS_DESCRIPTORS
    rows.append(
        (
            "missing" if few else "ok",
            "open files",
            f"at most {hard} a process",
            f"ulimit -Hn {SESSIONS_DESCRIPTORS * 4}, or nofile in limits.conf" if few else "",
        )
    )
    governor = machine["governor"]
    slow = governor not in (None, "performance")
    mend = "set the governor to performance while you measure" if slow else ""
    rows.append(("note" if slow else "ok", "frequency governor", governor or "not visible here", mend))
    load = machine["load_average"][0]
    busy = load > IDLE_LOAD
    mend = "end what else runs: figures taken beside it are not yours" if busy else ""
    rows.append(("note" if busy else "ok", "load average", f"{load:.2f}", mend))
    return rows


def _shapes() -> list[Row]:
    rows: list[Row] = []
    for name, shape in load_config().shapes.items():
        try:
            plan = cpu_plan(shape.vcpus, shape.mode, usable_cpus())
            rows.append(
                ("ok", f"shape {name}", f"gateway on {sorted(plan.gateway)}, harness on {sorted(plan.harness)}", "")
            )
        except ShapeRefused as refused:
            rows.append(("note", f"shape {name}", str(refused), "a machine with more cores"))
    return rows
