"""`make doctor`: what an experiment needs, what this machine has of it, and how to mend what is missing. Only looks."""

from rich import box
from rich.console import Console
from rich.table import Table

from experiment.ask import SERIES, load_config
from experiment.host import ShapeRefused, cannot_steer, cpu_plan, facts, role_environment, topology, usable_cpus
from experiment.run import findings
from experiment.setup import interpreters_here, survey

_NAMED = 4
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
    """Those that rows are made for, then every one that is here with the rows that would run on it."""
    rows: list[Row] = [(finding.state, finding.what, finding.found, finding.mend) for finding in survey()]
    variants = load_config().variants
    for found, build in interpreters_here():
        own = [name for name, variant in variants.items() if variant.interpreter == found.series]
        more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
        if found.series not in SERIES:
            runs = "no row runs on it; it can start set-up"
        elif own:
            runs = f"rows {', '.join(own[:_NAMED])}{more}"
        else:
            runs = f"no row names it; PYTHONS={found.series} takes any row there"
        rows.append(("ok", found.label, f"{found.executable} ({build}): {runs}", ""))
    return rows


def _machine() -> list[Row]:
    machine = facts()
    rows: list[Row] = [
        ("ok", "machine", f"{machine['cpu_model']}, {machine['virtualisation'] or 'no hypervisor seen'}", ""),
        ("ok", "kernel", f"{machine['system']} {machine['kernel']}", ""),
    ]
    rows += [(finding.state, finding.what, finding.found, finding.mend) for finding in findings(machine)]
    left_out = ", ".join(role_environment().dropped)
    rows.append(
        ("note", "environment", f"{left_out} would disturb", "left out everywhere; KEEP_ENV names what to keep")
        if left_out
        else ("ok", "environment", "no variable that would disturb", "")
    )
    return rows


def _shapes() -> list[Row]:
    rows: list[Row] = []
    for name, shape in load_config().shapes.items():
        try:
            plan = cpu_plan(shape.vcpus, shape.mode, topology(usable_cpus()), threads=shape.threads)
            idle = f", {sorted(plan.idle)} idle" if plan.idle else ""
            where = f"gateway on {sorted(plan.gateway)}, harness on {sorted(plan.harness)}{idle}"
            reason = cannot_steer(plan.gateway) if shape.receive == "gateway" else None
            receive = "sender" if reason else shape.receive
            mend = f"not gateway: {reason}" if reason else ""
            rows.append(("note" if reason else "ok", f"shape {name}", f"{where}, receive = {receive}", mend))
        except ShapeRefused as refused:
            rows.append(("note", f"shape {name}", str(refused), "a machine with more cores"))
    return rows
