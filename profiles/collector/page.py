"""The findings page of the collector, from stored evidence: claim, evidence for and against, what else it could be.

Every number and every verdict is computed here from what is passed in. Nothing is measured, no file read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiment.report import compare, markdown
from experiment.store import StoredRun
from profiles.collector import changes, tables
from profiles.collector.chain import Apart, Evidence, cells, take_apart
from profiles.collector.changes import loads_of
from profiles.collector.evidence import Published

Reproduced = Sequence[Mapping[str, Any]]


def headline(evidence: Evidence) -> str:
    """The README's line: one plain sentence with two figures."""
    load = loads_of(evidence)[-1]
    cell = cells(evidence, "chain").get(("mt", 0, load, None))
    pause = None if cell is None else cell.pause_ms_per_s
    said = "" if pause is None else f" for {pause.median:.0f} ms a second at {load} sessions"
    return (
        "- What is left of it on one core is the garbage collector's: it alone frees what Granian's Rust threads make, "
        f"and stops every thread{said}: [who-frees-it](docs/findings/who-frees-it.md)."
    )


def page(published: Published, pictures: Sequence[str]) -> str:
    """The Markdown page. `pictures`: files beside it, in order. Where the points are of some sets and not of the chain,
    it claims nothing and shows their tables."""
    evidence = published.points
    if "chain" not in evidence["settings"]["sets"]:
        return _of_some_sets(evidence)
    loads, reproduced = loads_of(evidence), evidence["reproduced"]
    parts = ["# Who frees what another thread made?", _machine(evidence), "## Claim", _claim(evidence)]
    parts += ["## Evidence for", "### From gil to mt, one factor at a time"]
    parts += [markdown(tables.ROW_HEADINGS, tables.row_lines(evidence, "chain")), _legend(evidence)]
    parts += [f"![{picture}]({picture})" for picture in pictures if "chain" in picture]
    for load in loads:
        parts += _steps(evidence, load)
    parts += ["### Answers that a collection stood in the way of", _met(evidence)]
    parts += ["### What waits, and for whom", _owners(evidence)]
    parts += ["### The same without Granian", _reproduced(reproduced)]
    parts += ["### How the pause grows", markdown(tables.GROWTH_HEADINGS, tables.growth_lines(evidence))]
    parts += [f"![{picture}]({picture})" for picture in pictures if "growth" in picture]
    parts += ["### Everybody else", _designs(evidence)]
    parts += ["### What an operator can set", _set(evidence, "settings")]
    if published.changed is not None:
        parts += ["### An owner that empties its queue", changes.servers(published.changed)]
    if published.builds is not None:
        parts += ["### The next CPython", changes.builds(published.builds)]
    if published.merging is not None:
        parts += ["### A CPython that merges in place of a detached owner", changes.merging(published.merging)]
    if published.ceilings is not None:
        parts += ["### Ceilings", _ceilings(published.ceilings)]
    parts += ["### What the collector leaves: one core, several threads", _threads(evidence, loads[-1])]
    parts += [_set(evidence, "slices"), _set(evidence, "cores")]
    if published.stacks is not None:
        parts += ["### Where the time goes", _stacks(published.stacks)]
    parts += ["## Evidence against, and what stays open", _against(evidence, loads)]
    parts += ["## What would change our mind", _MIND, "## What each could do", _COULD]
    parts += ["## How to repeat each step", _REPEAT]
    return "\n\n".join(part for part in parts if part) + "\n"


def _of_some_sets(evidence: Evidence) -> str:
    sets = evidence["settings"]["sets"]
    parts = [f"# Points of `make collector SETS={','.join(sets)}`", _machine(evidence)]
    if evidence["reproduced"]:
        parts += ["## Without Granian", _reproduced(evidence["reproduced"])]
    for name in sets:
        parts += [f"## {name}", _set(evidence, name)]
    parts += ["## Where the time goes", _stacks(evidence)] if tables.stack_lines(evidence) else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(evidence: Evidence) -> str:
    machine = evidence["machine"]
    tags = sorted({str(row["interpreter"]["tag"]) for row in evidence["rows"].values() if row["interpreter"]})
    settings = evidence["settings"]
    return (
        f"Measured on {machine['cpus']} × {machine['cpu_model']}, Linux {str(machine['kernel']).split('-')[0]}, "
        f"CPython {', '.join(tags)}, {settings['shape']}, {settings['timing']}, begun {str(evidence['started'])[:10]} "
        f"(contract {evidence['contract']}). With the lost wake-up mended, mt costs about what gil costs and still "
        "carries fewer sessions on one core."
    )


def _claim(evidence: Evidence) -> str:
    load, reproduced = loads_of(evidence)[-1], evidence["reproduced"]
    said = [
        "A free-threaded CPython counts the last reference to an object down in the thread that made it. Another "
        "thread that drops it puts it into a queue of the maker's (`Python/brc.c`). The maker empties that queue when "
        "it next runs bytecode, or when its thread state ends. Granian's threads for blocking work are Rust: they make "
        "the message of each frame, the loop's thread drops it, and they keep one thread state for ever "
        "(`src/blocking.rs`) and run no bytecode. So each frame's objects wait for a garbage collection, which looks "
        "at the whole heap and stops every thread."
    ]
    held = _held(evidence)
    if held:
        said.append(held)
    if reproduced:
        said.append(_reproduced_says(reproduced))
    if (apart := take_apart(evidence, load, "p95")) is not None:
        said.append(_apart_says(apart))
    return "\n\n".join(said)


def _held(evidence: Evidence) -> str:
    """What the chain's cells free for a frame, by build."""
    found = cells(evidence, "chain")
    load = loads_of(evidence)[-1]
    words = []
    for row in ("gil", "st-ft", "mt"):
        cell = found.get((row, 0, load, None))
        if cell is not None and (freed := cell.freed) is not None and (pause := cell.pause_ms_per_s) is not None:
            words.append(
                f"{row} {freed.median / tables.FRAMES_PER_S:.1f} ({pause.median:.0f} ms of collections a second)"
            )
    return f"Objects that collections free for each frame, at {load} sessions: {', '.join(words)}." if words else ""


def _reproduced_says(reproduced: Reproduced) -> str:
    free, gil = ([run for run in reproduced if run["gil"] is kind] for kind in (False, True))

    def of(runs: Reproduced, maker: str) -> list[float]:
        return [one["collected_per_1000_messages"] for run in runs for one in run["makers"] if one["maker"] == maker]

    held, napping, in_gil = of(free, "in C"), of(free, "in C, naps"), of(gil, "in C")
    words = (
        [f"{', '.join(run['python'] + 't' for run in free)}: {min(held):.0f}–{max(held):.0f} of 1000"] if held else []
    )
    words += [f"where the maker comes by a line of Python now and then {max(napping):.0f}"] if napping else []
    words += [f"on the GIL build {max(in_gil):.0f}"] if in_gil else []
    return (
        "The same without Granian or any server, in plain Python of which one thread runs wholly in C; answers left to "
        f"the collector: {'; '.join(words)}."
    )


def _apart_says(apart: Apart) -> str:
    whole = apart.whole.change
    told = [step for step in apart.steps if apart.is_told(step)]
    steps = "; ".join(f"{step.what} {step.change.median:+.0f}" for step in apart.steps)
    rest = whole.median - sum(step.change.median for step in apart.steps)
    untold = [step for step in apart.steps if step not in told]
    words = (
        f"At {apart.sessions} sessions the newest {apart.quantity} goes from {apart.base.median:.0f} to "
        f"{apart.base.median + whole.median:.0f} ms, beyond what a row differs from itself ({apart.reach:.0f} ms): "
        f"{steps} ms; the medians leave {rest:+.0f} ms."
        if abs(whole.median) > apart.reach
        else f"At {apart.sessions} sessions gil and mt are not told apart in {apart.quantity} ({whole.median:+.0f} ms; "
        f"a row differs from itself by up to {apart.reach:.0f} ms)."
    )
    if untold and told:
        words += f" Not told from nothing: {', '.join(step.what for step in untold)}."
    return words


def _legend(evidence: Evidence) -> str:
    chain = evidence["settings"]["sets"]["chain"]
    return (
        f"{chain['rounds']} rounds, all rows in turn, median and range; “again” is the same row a second time. "
        "`-gc-off` rows call `gc.disable()` once they serve. Run-queue wait: the kernel's own count of the time that "
        "threads were ready and had no core. Collections are counted by `gc.callbacks` in the measured window."
    )


def _steps(evidence: Evidence, load: int) -> list[str]:
    parts = []
    for quantity in ("p50", "p95"):
        apart = take_apart(evidence, load, quantity)
        if apart is not None:
            itself = "; ".join(f"{row} {change.low:+.0f} … {change.high:+.0f}" for row, change in apart.itself.items())
            parts.append(
                f"Newest {quantity} at {load} sessions, from gil's {tables.text(apart.base)} ms. A row to itself "
                f"(A/A): {itself or 'not measured'} ms."
            )
            parts.append(markdown(tables.STEP_HEADINGS, tables.step_lines(apart)))
    return parts


def _met(evidence: Evidence) -> str:
    said = (
        "Each point's answers, by whether a collection ran between the due time of their newest frame and their "
        "arrival. Both kinds come from the same gateway in the same seconds."
    )
    return f"{said}\n\n{markdown(tables.MET_HEADINGS, tables.met_lines(evidence, 'chain'))}"


def _owners(evidence: Evidence) -> str:
    said = (
        "After the window of a point of its own: every tracked object's maker, read from the object itself (`ob_tid`), "
        "and whether it waits in a queue (`ob_ref_shared`). “nobody”: its counts are merged, any thread frees it."
    )
    parts = [said, markdown(tables.OWNER_HEADINGS, tables.owner_lines(evidence, "designs"))]
    parts += ["What one more collection frees then (`gc.DEBUG_SAVEALL`):"]
    parts += [markdown(tables.FREED_HEADINGS, tables.freed_lines(evidence, "designs"))]
    return "\n\n".join(parts)


def _reproduced(reproduced: Reproduced) -> str:
    if not reproduced:
        return "Not run."
    said = (
        "`profiles/collector/reproducer/held_by_its_maker.py`, the standard library alone: one thread answers, another "
        "asks and drops the answer, a dict. “in C”: `map`, `iter` and queues do all of the answering thread's work, so "
        "it makes objects and runs no bytecode."
    )
    return f"{said}\n\n{markdown(tables.REPRODUCED_HEADINGS, tables.reproduced_lines(reproduced))}"


def _designs(evidence: Evidence) -> str:
    said = "One point each. A design that handles a frame on the thread that made it hands nothing over."
    return f"{said}\n\n{markdown(tables.DESIGN_HEADINGS, tables.design_lines(evidence))}"


def _set(evidence: Evidence, name: str) -> str:
    lines = tables.row_lines(evidence, name)
    if not lines:
        return ""
    about: str = evidence["settings"]["sets"][name]["about"]
    return f"{about[0].upper()}{about[1:]}:\n\n{markdown(tables.ROW_HEADINGS, lines)}"


def _stacks(evidence: Evidence) -> str:
    machine = evidence["machine"]
    said = (
        f"`make collector SETS=stacks,py-spy` on {machine['cpus']} × {machine['cpu_model']}, one point "
        "each: the innermost Python frames that samples met most often. "
        "“on CPU”: of samples of threads that the kernel had as running, or that py-spy took for it. “wall clock”: of "
        "samples of every thread; “[off CPU]” did not run. What is below a Python frame (the event loop's C, Granian's "
        "Rust, a collection) counts as that frame's. Sampling costs: py-spy stops the process for each look, CPython's "
        "unwinder reads while it runs. The flame graphs, and the difference of two, are in the zip that "
        "`make report` writes."
    )
    return f"{said}\n\n{markdown(tables.STACK_HEADINGS, tables.stack_lines(evidence))}"


def _ceilings(ceilings: StoredRun) -> str:
    known = compare([ceilings])
    lines = [[line[0], line[2], line[3], line[4], line[5]] for line in known.lines()]
    headings = ("row", "µs per session-s", "ratio to first", "bracket", "ceiling ÷ first's")
    return (
        f"Ladders, rows in turn, {ceilings.machine}; a bracket says what was confirmed:\n\n{markdown(headings, lines)}"
    )


def _threads(evidence: Evidence, load: int) -> str:
    lines = tables.thread_lines(
        evidence, "chain", load, ("gil-gc-off", "st-ft-gc-off", "mt-one-loop-gc-off", "mt-gc-off")
    )
    said = (
        f"Each busy thread at {load} sessions with the collector off, first round. A frame crosses two threads on the "
        "stock stack, on every build, and each crossing waits for the core."
    )
    return f"{said}\n\n{markdown(tables.THREAD_HEADINGS, lines)}"


def _against(evidence: Evidence, loads: Sequence[int]) -> str:
    lines = []
    for load in loads:
        apart = take_apart(evidence, load, "p95")
        if apart is None:
            continue
        lines += [
            f"At {load} sessions {step.what} ({step.change.median:+.0f} ms) is not told from A/A."
            for step in apart.steps
            if not apart.is_told(step)
        ]
        lines += _share_of_the_gap(apart)
    lines.append(
        "With the collector off nothing frees what waits, and memory grows: it shows what collections cost, and is no "
        f"setting to serve with.{_memory(evidence, loads[-1])}"
    )
    lines.append(
        "Objects are asked whose they are after the window; that the same thread made those that collections freed in "
        "it is inferred, from their types and numbers."
    )
    return "\n".join(f"- {line}" for line in lines)


def _memory(evidence: Evidence, load: int) -> str:
    """How much of it each has by the end of a point."""
    found, words = cells(evidence, "chain"), []
    for row in ("mt", "mt-gc-off"):
        cell = found.get((row, 0, load, None))
        sizes = [] if cell is None else [(point["gateway"] or {}).get("rss_bytes_max") for point in cell.points]
        if known := [size for size in sizes if size is not None]:
            words.append(f"{row} {max(known) / 2**20:.0f} MiB")
    return f" At {load} sessions a point ends with up to {', '.join(words)}." if words else ""


def _share_of_the_gap(apart: Apart) -> list[str]:
    """How much of the gap in p95 goes with the collections; nothing where there is no gap."""
    step = next((step for step in apart.steps if step.after == "mt"), None)
    share = None if step is None else apart.share(step)
    if share is None or abs(apart.whole.change.median) <= apart.reach:
        return []
    return [f"At {apart.sessions} sessions the collections are {share:.0%} of the gap in p95, by medians."]


_MIND = "\n".join(
    [
        "- A free-threaded build on which the reproducer's thread in C leaves no answer to the collector.",
        "- Objects that wait for a thread that runs Python, or that nobody dropped on another thread.",
        "- mt with a worker thread that comes by bytecode, and collections that free as much as before.",
        "- A gap between gil and mt that stays as wide with the collector off, at the loads above.",
    ]
)
_COULD = "\n".join(
    [
        "- **CPython**: let the thread that drops the object merge its counts where the owner is detached or blocked "
        "(python/cpython #157838 is about the same queue), or let an owner empty its queue where it attaches again.",
        "- **PyO3**: give native threads a way to empty their queue that is cheaper than ending their thread state.",
        "- **Granian**: let its blocking threads come by a line of bytecode now and then, or make the message on the "
        "loop's thread. Attaching for each burst of tasks ends the collections, too, but a thread state each time is "
        "dear: see above.",
        "- **An operator**: a raised `gc.set_threshold` makes fewer collections, and longer ones; the table above says "
        "what that does to p95.",
    ]
)
_REPEAT = "\n".join(
    [
        "- Everything but the ceilings and a changed Granian: `make collector` (`DRY_RUN=1` says how long), then "
        "`make report RUN=results/<run>`.",
        "- Flame graphs alone: `make collector SETS=stacks,py-spy`, then `make report RUN=results/<run>`.",
        "- The ceilings: `make compare VARIANTS=gil,gil-gc-off,st-ft,st-ft-gc-off,mt,mt-gc-off ROUNDS=1`.",
        "- The reproducer, without this laboratory: `python3.14t profiles/collector/reproducer/held_by_its_maker.py`.",
        "- One look at a row: `make profile VARIANT=mt SESSIONS=300 PROFILER=collector`.",
    ]
)
