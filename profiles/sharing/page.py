"""docs/findings/two-cores.md from stored evidence. Every number and every verdict is computed here; no file is read."""

from collections.abc import Mapping
from typing import Any

from experiment.report import Ratio, markdown, paired, ratio
from profiles.sharing.evidence import Published
from profiles.sharing.layouts import AGAIN, PROCESSES, THREADS
from profiles.sharing.ratios import by_round
from profiles.sharing.tables import (
    HEADINGS,
    OBJECT_HEADINGS,
    THREAD_HEADINGS,
    WAIT_HEADINGS,
    layouts_of,
    lines,
    object_lines,
    thread_lines,
    wait_lines,
)

Evidence = Mapping[str, Any]
Run = Mapping[str, Any]

COUNTING = """\
static _Thread_local shared_table *shared_mine;     /* 65 536 slots: an object, and how often */

static int
_Py_DecRefSharedIsDead(PyObject *o, const char *filename, int lineno)
{
    count_shared(o);                                /* in this thread's own table */
    ...

Py_ssize_t _PyShared_Read(int table, unsigned long *thread, PyObject **ops, uint64_t *counts, Py_ssize_t most);
"""
"""What the counting CPython has more, in `Objects/object.c`."""


def between(run: Run, layout: str, base: str) -> Ratio | None:
    """A layout's cost by another's, of the same rounds."""
    return ratio(by_round(run["turns"], layout), by_round(run["turns"], base))


def claim(run: Run) -> str:
    """What the run says of the gap, in a line."""
    name = f"{run['label']} ({run['interpreter']['tag']})"
    gap = between(run, THREADS.name, PROCESSES.name)
    if gap is None:
        return f"{name}: not measured."
    itself = [between(run, f"{layout}{AGAIN}", layout) for layout in (PROCESSES.name, THREADS.name)]
    known = [each for each in itself if each is not None]
    far = max((abs(each.mean - 1.0) for each in known), default=0.0)
    second = between(run, f"{THREADS.name}{AGAIN}", f"{PROCESSES.name}{AGAIN}")
    seen_twice = second is not None and second.is_told and (second.mean > 1.0) == (gap.mean > 1.0)
    told = gap.is_told and abs(gap.mean - 1.0) > far and seen_twice
    share = f"{100 / gap.mean:.0f} % of the process ceiling, by cost"
    words = f"a thread for each of two loops costs × {gap} what a process for each costs: {share}"
    words += f"; a layout against itself comes out within {far:.1%}" if known else ""
    return f"{name}: {words}; {'told apart' if told else 'not told apart'}."


def explained(run: Run) -> str | None:
    """How much of the gap goes when each thread has everything of its own; None where there is no gap to explain."""
    gap, steps = between(run, THREADS.name, PROCESSES.name), _steps(run)
    if gap is None or not gap.is_told or gap.mean <= 1.0 or not steps:
        return None
    best = min(steps, key=lambda step: step[1].mean)
    rest = between(run, best[0], PROCESSES.name)
    assert rest is not None
    gone = (gap.mean - rest.mean) / (gap.mean - 1.0)
    return (
        f"{run['label']}: where each thread has all modules up to {best[0].removeprefix('threads, own ')} of its own, "
        f"{gone:.0%} of the gap goes; × {rest} is left."
    )


def _steps(run: Run) -> list[tuple[str, Ratio]]:
    names = [name for name in layouts_of(run) if name.startswith("threads, own ")]
    found = [(name, between(run, name, THREADS.name)) for name in names]
    return [(name, one) for name, one in found if one is not None]


def page(published: Published, pictures: tuple[str, ...] = ()) -> str:
    """The Markdown page. `pictures`: files beside it."""
    evidence, touched, proposed, scheduled = published
    machine, settings = evidence["machine"], evidence["settings"]
    runs = [run for run in evidence["runs"] if run["turns"]]
    tags = ", ".join(dict.fromkeys(run["interpreter"]["tag"] for run in runs))
    parts = [
        "# Two cores: what threads of one process share",
        f"Measured on {machine['cpus']} × {machine['cpu_model']}, Linux {machine['kernel'].partition('-')[0]}, CPython "
        f"{tags}, begun {evidence['started'][:10]}. Each layout in turn, {settings['rounds']} rounds of "
        f"{settings['window_s']:g} s.",
        "## Claim",
        "\n".join(f"- {claim(run)}" for run in runs),
    ]
    if reasons := [text for run in runs if (text := explained(run)) is not None]:
        parts.append("\n".join(f"- {text}" for text in reasons))
    parts += ["## Evidence for", _how(), markdown(HEADINGS, lines(evidence))]
    parts += [f"![{picture}]({picture})" for picture in pictures]
    parts += ["### Constants that nobody made immortal", _bytecode(runs)]
    if touched is not None:
        parts += ["### Which objects", _objects(touched)]
    if waited := wait_lines(evidence):
        parts += ["### Locks, and a stopped world", _waited(runs), markdown(WAIT_HEADINGS, waited)]
    if scheduled:
        parts += ["### What the scheduler does to the threads of a whole gateway", _SCHEDULED]
        parts += [f"{one['title']}:\n\n{markdown(THREAD_HEADINGS, thread_lines(one))}" for one in scheduled]
    if changed := _changed(runs):
        parts += ["### What our hosts share less since", changed]
    if gains := _gains(proposed or evidence):
        parts += ["### What a change of a library would give", gains]
    parts += ["## Evidence against, and what stays open", _against(runs)]
    parts += ["## What would change our mind", _doubt(), "## What each could do", _could()]
    parts += ["## How to repeat", _repeat()]
    return "\n\n".join(parts) + "\n"


def _how() -> str:
    return (
        "Serving loops side by side (`experiment/bench/side_by_side.py`): each in a thread on a whole CPU of its own, "
        "with a port, clients and an inference server of its own, which share that CPU. As processes they share "
        "nothing; as threads they share the process. `core` is the session core alone, without sockets, as fast as it "
        "goes. “own …”: each thread has imported its own copy of those modules, and so has its own classes, functions "
        "and constants; every step keeps what the one before had. “shared clock”: each frame asks a Python object for "
        "the time, one object of both threads, or one of each process. Cost is the serving thread's own CPU time. "
        "Ratios are geometric means of paired rounds, with Student's 95 % interval."
    )


def _bytecode(runs: list[Run]) -> str:
    said = (
        "A free-threaded CPython makes the constants of a code object immortal, so that nobody counts them. But "
        "`builtins.compile` turns that off (`suppress_co_const_immortalization`, `Python/bltinmodule.c`), and "
        "importing a module without bytecode goes through it. So in a process that compiled its modules itself, "
        "numbers and bytes that are constants are counted, atomically, by every thread but the one that imported them. "
        "`PYTHONDONTWRITEBYTECODE=1`, usual in containers, does that at every start. The laboratory's own runs did so, "
        "too, on machines with that variable, until this page; since then every process has bytecode."
    )
    told = []
    for run in runs:
        for layout in (PROCESSES.name, THREADS.name):
            without = between(run, f"{layout}, no bytecode", layout)
            if without is not None:
                told.append(f"- {run['label']}, {layout}: without bytecode × {without} of the cost with it.")
    see = (
        "To see it: `python3.14t -Bc 'import sys, m; print(sys._is_immortal(m.A))'`, where `m.py` is `A = 640`, prints "
        "False; without `-B`, from the second time on, True. What it costs: "
        "`python3.14t profiles/sharing/reproducer/counted_constants.py`, the standard library alone."
    )
    return "\n\n".join((said, "\n".join(told), see))


def _objects(touched: Evidence) -> str:
    said = (
        "A free-threaded CPython counts references that an object's maker takes in a plain field, and those of all "
        "other threads in an atomic one, which moves from core to core. A CPython that was built here remembers for "
        "each thread whose atomic field it counts down. It has these lines more, and "
        "`experiment/bench/touched.py` reads them:"
    )
    after = (
        "What both threads counted down in the window, by the thread that did it less often. Each is counted up as "
        "often. `make sharing PYTHONS=/that/build/bin/python3`."
    )
    return "\n\n".join((said, f"```c\n{COUNTING}```", after, markdown(OBJECT_HEADINGS, object_lines(touched))))


def _waited(runs: list[Run]) -> str:
    said = (
        "One more window of each host under Linux's perf: every futex that a loop's thread waited at, and every stop "
        "of the world, from the call that asks for it to the one that ends it, by the innermost functions of the "
        "stack. A lock that is free costs no futex. perf makes a wait longer, and does not make one."
    )
    traced = [(run["label"], name, one) for run in runs for name, one in run.get("traced", {}).items()]
    if blind := [f"{label} as {name.partition(',')[0]}" for label, name, one in traced if not one.get("sees_stops")]:
        said += f" Stops of the world were not seen in all processes of: {', '.join(blind)}."
    return said


def _changed(runs: list[Run]) -> str | None:
    """Layouts of an earlier commit, and of this one, in the same rounds."""
    told = []
    for run in runs:
        for name in layouts_of(run):
            kind, _, revision = name.partition(" of ")
            if revision and (change := between(run, kind, name)) is not None:
                told.append(f"- {run['label']}, {kind}: × {change} of what commit {revision} costs.")
    said = (
        "The same layouts of an earlier commit, in turn with this one's. There a thread called one function of all for "
        "each frame, sizes were sums, and fields of named tuples were read one by one."
    )
    return "\n\n".join((said, "\n".join(told))) if told else None


_SCHEDULED = (
    "`make profile PROFILER=sched`: in the measured window of 15 s, what each thread ran, what it waited for a CPU, "
    "and how often it let go of one or lost it. Threads that ran for less than a thousandth of it are left out."
)


def _gains(evidence: Evidence) -> str | None:
    """Each host with packages laid over, by itself without them, in the same rounds; None where none has any."""
    runs = {run["label"]: run for run in evidence["runs"] if run["turns"]}
    told = []
    for label, run in runs.items():
        without = runs.get(run["host"])
        if without is None or without is run:
            continue
        for layout in (PROCESSES.name, THREADS.name):
            gain = ratio(by_round(run["turns"], layout), by_round(without["turns"], layout))
            itself = between(without, f"{layout}{AGAIN}", layout)
            told.append(f"- {label}, {layout}: × {gain} of the cost without it, which by itself is × {itself}.")
    if not told:
        return None
    said = (
        "`make sharing SETS=threads WITH=<wheel>`: the same host without a change and with it, in turn. "
        "`profiles/sharing/reproducer/` has the change of anyio as a patch (`anyio_import_once.patch`: an `import` "
        "statement that runs at every call, put at the module's head) and what such a statement costs by itself "
        "(`import_in_call.py`)."
    )
    return "\n\n".join((said, "\n".join(told)))


def _by_round(run: Run) -> str:
    """The gap, round by round."""
    costs, base = (by_round(run["turns"], layout) for layout in (THREADS.name, PROCESSES.name))
    return ", ".join(f"{each:.2f}" for each in paired(costs, base))


def _against(runs: list[Run]) -> str:
    rounds = "; ".join(f"{run['label']} {_by_round(run)}" for run in runs)
    found = [
        f"- Round by round, threads ÷ processes: {rounds}. What a shared count costs depends on how far two CPUs lie "
        "apart, which a virtual machine does not say, and on which objects lie in one cache line.",
        "- asyncio's modules cannot be copied for each thread: their C half keeps the first copy. What both threads "
        "count there stays in the gap.",
        "- A host's loops share their CPU with their clients and are busy for the share that the table gives: two "
        "threads meet at an object only while both run. `core` is the bound, where both always do. Whole CPUs for the "
        "loops alone want a machine with more of them.",
    ]
    for run in runs:
        alone = between(run, "one", PROCESSES.name)
        if alone is not None:
            found.append(f"- {run['label']}: one loop with the other CPU idle costs × {alone} of two processes' loops.")
        gil = between(run, "processes, GIL", PROCESSES.name)
        if gil is not None:
            found.append(f"- {run['label']}: processes of the same binary with PYTHON_GIL=1, × {gil} of those without.")
    return "\n".join(found)


def _doubt() -> str:
    return (
        "- Threads that cost what processes cost, on CPUs further apart: the interval of `threads` would hold 1.\n"
        "- Own modules that change nothing, though their objects lead the table: then it is not the counting.\n"
        "- A CPU where a contended count is cheap: “shared clock” would cost threads what it costs processes."
    )


def _could() -> str:
    return """\
- **Whoever runs a free-threaded build in a container**: leave `PYTHONDONTWRITEBYTECODE` unset, or compile when the
  image is made (`python -m compileall`), so that constants are immortal.
- **CPython**: what importlib compiles lives as long as its module, so its constants could be made immortal as those
  of bytecode are; `marshal.loads(marshal.dumps(code))` in `source_to_code` does it today. Fields of named tuples
  and members of enumerations are what else both threads count: python/cpython #139103 and #144977 give them
  deferred counts.
- **anyio** (4.16.0): without sniffio, `current_async_library` runs `import asyncio` at every call, for each
  `Event`, `sleep` and stream; at the module's head it would be once (`anyio_import_once.patch`). `asyncio`, its
  globals, its spec, `sys.modules` and `__import__` stand in the table for that reason.
- **picows**: `frame.msg_type` makes a member of an enumeration for each frame; a plain number would not be counted.
- **Our own hosts did**: sizes that are written out in place of sums, named tuples that are taken apart at once, and
  a copy of the listener's method for each thread."""


def _repeat() -> str:
    return (
        "`make sharing` (about half an hour; `SETS=threads` for one host, `PYTHONS=3.15t` for another build), then "
        "`python -m profiles publish-sharing --turns results/<run>`."
    )
