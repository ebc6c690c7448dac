"""Parts of the collector's page: the same rows on a changed server, on another CPython, on a changed CPython. Pure."""

from collections.abc import Sequence
from itertools import product

from experiment.report import markdown
from profiles.collector import tables
from profiles.collector.chain import Evidence, between

MERGE_IN_ITS_PLACE = """\
int expected = _Py_THREAD_DETACHED;
if (_Py_atomic_compare_exchange_int(&tstate->base.state, &expected, _Py_THREAD_SUSPENDED)) {
    Py_ssize_t refcount = _Py_ExplicitMergeRefcount(ob, -1);
    _Py_atomic_store_int(&tstate->base.state, _Py_THREAD_DETACHED);
    _PyParkingLot_UnparkAll(&tstate->base.state);
    PyMutex_Unlock(&bucket->mutex);
    if (refcount == 0) {
        _Py_Dealloc(ob);
    }
    return;
}
"""
"""What `make collector SETS=builds` was given a CPython with: the lines that it has more."""


def loads_of(evidence: Evidence, of_set: str = "chain") -> list[int]:
    """The numbers of sessions of a set."""
    loads: list[int] = sorted(evidence["settings"]["sets"][of_set]["sessions"])
    return loads


def servers(evidence: Evidence) -> str:
    """Granian with blocking threads that empty their queues."""
    said = (
        "Granian's `src/blocking.rs` changed in two ways, each some ten lines. `-line`: after each task a blocking "
        "thread calls an empty Python function, so that it comes by the interpreter's loop and empties its queue. "
        "`-attached`: it waits for tasks outside Python, attaches for a burst of them, and detaches, which ends its "
        "thread state and with it the queue. All were built here from Granian's own source distribution, with the same "
        "compiler and crates (three forks that it names were replaced by the registry's releases); `-plain` is that "
        "without a change, and slower here than the published wheel."
    )
    parts = [said, markdown(tables.ROW_HEADINGS, tables.row_lines(evidence, "chain"))]
    pairs = [(f"{row}-plain", f"{row}-{how}") for row, how in product(("st-ft", "mt"), ("line", "attached"))]
    parts += ["Round by round:", _pairs(evidence, "chain", pairs)]
    if owners := tables.owner_lines(evidence, "designs"):
        parts += ["What waits, after the window:", markdown(tables.OWNER_HEADINGS, owners)]
    return "\n\n".join(parts)


def _pairs(evidence: Evidence, of_set: str, pairs: Sequence[tuple[str, str]]) -> str:
    """What changes from one row to another in the same rounds, p50 and p95, at each load."""
    lines = []
    for load in loads_of(evidence, of_set):
        for before, after in pairs:
            for quantity in ("p50", "p95"):
                step = between(evidence, load, quantity, before, after, of_set)
                if step is not None:
                    what = f"newest {quantity}, {load} sessions"
                    lines.append([f"{step.before} → {step.after}", what, tables.change(step)])
    return markdown(tables.STEP_HEADINGS[:3], lines)


def builds(evidence: Evidence) -> str:
    """The same rows on two releases of CPython."""
    tags = {name: str(row["interpreter"]["tag"]) for name, row in evidence["rows"].items() if row["interpreter"]}
    said = (
        "`make collector SETS=builds`: two rows, each on two builds in turn "
        f"({', '.join(f'{row}: {tag}' for row, tag in tags.items())}), from wheels of the same releases."
    )
    return f"{said}\n\n{_two_builds(evidence)}"


def merging(evidence: Evidence) -> str:
    """The same rows on a CPython that merges in place of a detached owner."""
    said = (
        "CPython 3.14.7t, built twice from one checkout with the same options (no profile-guided optimisation): as it "
        "is, and with the lines below in `_Py_brc_queue_object`, before it pushes onto the queue. Whoever queues an "
        "object looks whether its owner is detached. A detached owner touches no reference count until it attaches "
        "again, so it is held there, as stopping the world does, and the object is merged in its place, and freed at "
        "once. Where the owner is attached, everything stays as it was. "
        "`make collector SETS=builds PYTHONS=/a/build/bin/python3,/a/patched/build/bin/python3`:"
    )
    return "\n\n".join((said, f"```c\n{MERGE_IN_ITS_PLACE}```", _two_builds(evidence)))


def _two_builds(evidence: Evidence) -> str:
    """Rows that stand in twos: on one build, and on the other."""
    rows_of = list(evidence["rows"])
    rows = markdown(tables.ROW_HEADINGS, tables.row_lines(evidence, "builds"))
    pairs = _pairs(evidence, "builds", list(zip(rows_of[::2], rows_of[1::2], strict=False)))
    return "\n\n".join((rows, "Round by round:", pairs))
