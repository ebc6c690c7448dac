"""`make reproduce`: the public benchmark's Python rows in its shapes, beside ours, and the ratios that it is about.

It words what came; what is asked for is `experiment.ask`'s.
"""

from experiment.ask import SHAPES, STAND_INS
from experiment.report.costs import carried
from experiment.store import StoredRow, StoredRun

PUBLIC = {
    ("pub-gil", "quota-1"): 1100,
    ("pub-gil", "quota-2"): 1750,
    ("pub-mt", "quota-1"): 180,
    ("pub-mt", "quota-2"): 205,
}
"""Sessions as published: websocket-stt-bench, CPython 3.14 and 3.14t, Granian 2.7.4, 32 cores."""
HEADINGS = ("row", "interpreter", "bracket here", "published", "ended because")


def lines(run: StoredRun) -> list[tuple[str, ...]]:
    """One line per row and shape, under HEADINGS."""
    return [
        (
            row.name,
            row.interpreter,
            "–" if row.bracket is None else str(row.bracket),
            str(PUBLIC.get(_place(row), "–")),
            row.refused or row.verdict.get("ended") or "not finished",
        )
        for row in run.rows
    ]


def ratios(run: StoredRun) -> list[str]:
    """gil : mt at every shape, and the second vCPU (or its stand-in) for every variant, as intervals from brackets."""
    rows = {_place(row): row for row in run.rows}
    names = list(dict.fromkeys(shape for _, shape in rows))
    pairs = [
        (f"{gil} : {mt} at {shape}", rows.get((gil, shape)), rows.get((mt, shape)))
        for gil, mt in (("pub-gil", "pub-mt"), ("gil", "mt"))
        for shape in names
    ]
    for one, two in (SHAPES, STAND_INS):
        pairs += [
            (f"{two} : {one} of {name}", rows.get((name, two)), rows.get((name, one)))
            for name in dict.fromkeys(name for name, _ in rows)
            if two in names
        ]
    both = [(said, top, under) for said, top, under in pairs if top and under and top.points and under.points]
    return [f"{said}: {_ratio(top, under)}" for said, top, under in both]


def published() -> list[str]:
    """The same ratios as published."""
    return [
        f"published {gil} : {mt} at {shape}: {PUBLIC[gil, shape] / PUBLIC[mt, shape]:.1f}"
        for gil, mt in [("pub-gil", "pub-mt")]
        for shape in SHAPES
    ] + [
        f"published quota-2 : quota-1 of {name}: {PUBLIC[name, SHAPES[1]] / PUBLIC[name, SHAPES[0]]:.2f}"
        for name in ("pub-gil", "pub-mt")
    ]


def _place(row: StoredRow) -> tuple[str, str]:
    return row.facts["variant"]["name"], row.facts["shape"]["name"]


def _ratio(top: StoredRow, under: StoredRow) -> str:
    ends = carried(top.bracket, under.bracket)
    return "not known: a bracket lacks an end" if ends is None else f"{ends[0]:.2f}–{ends[1]:.2f}"
