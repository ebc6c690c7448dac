"""The findings about interpreters: what each release of CPython changed for rows that are otherwise alike. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from experiment.report.comparison import Comparison, compare
from experiment.report.costs import Spread
from experiment.report.sentences import receiving, tables
from experiment.report.tables import markdown
from experiment.store import StoredRow, StoredRun

PAIR_HEADINGS = ("build", "decision", "cost ÷ the first build's, pair by pair")
HEADINGS = ("row", "build", "µs per session-s", "to the build before", "all-in", "newest p95 ms", "RSS kB per session")


def page(runs: Mapping[str, StoredRun], bisections: Sequence[Mapping[str, Any]], picture: str) -> str:
    """The findings as Markdown.

    Args:
        runs: comparisons of rows on several interpreters, each with the path of its kept evidence.
        bisections: evidence of `make bisect`, as kept.
        picture: of the first of them.
    """
    first = next(iter(runs.values()))
    said = [line for run in runs.values() for line in changes(run)]
    parts = ["# What does each CPython change?", _WHAT, f"Measured on {first.machine}."]
    parts += ["\n".join(f"- {line}" for line in said), f"![{', '.join(row.name for row in first.rows)}]({picture})"]
    for evidence, run in runs.items():
        parts += [f"## {', '.join([*run.shapes, *receiving(run), run.timing])}", markdown(HEADINGS, lines(run))]
        parts += ["### As every comparison has it", *tables(evidence, run)]
    parts += ["## How they were built", markdown(_BUILD_HEADINGS, _builds(first))]
    for bisection in bisections:
        parts.append(f"## `{bisection['command']}`\n\n{bisection['answer']} {bisection['took']}")
        if bisection.get("about"):
            parts.append(bisection["about"])
        if bisection["asked"]["package"] is None:
            parts.append(markdown(PAIR_HEADINGS, _pairs(bisection)))
    parts += ["## What to know before quoting this", _KNOW]
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the cost points of a row saw; None where nothing was stored."""

    newest_p95_ms: float | None
    rss_kb_per_session: float | None

    @classmethod
    def of(cls, known: Comparison, row: StoredRow) -> "_Seen":
        points = [point for point in row.points if point.purpose in known.costs(row)]
        late = [point.load.newest_ms.p95 for point in points if point.load.newest_ms.p95 is not None]
        rss = [
            point.gateway.rss_bytes_max / point.sessions / 1000
            for point in points
            if point.gateway is not None and point.gateway.rss_bytes_max is not None
        ]
        return cls(median(late) if late else None, median(rss) if rss else None)


def _pairs(bisection: Mapping[str, Any]) -> list[list[str]]:
    return [
        [label, str(seen["decision"]), ", ".join(f"{other / first:.3f}" for first, other in seen["pairs"])]
        for label, seen in bisection["looked_at"].items()
    ]


def lines(run: StoredRun) -> list[list[str]]:
    """One for each row and build that gave a cost."""
    known = compare([run])
    found = []
    for row, before in _with_earlier(run):
        own, all_in = (Spread.of(list(known.costs(row, all_in=each).values())) for each in (False, True))
        if own is None:
            continue
        seen = _Seen.of(known, row)
        found.append(
            [
                _base(row),
                row.interpreter,
                own.text(0),
                "–" if before is None else _ratio(known, row, before),
                "–" if all_in is None else all_in.text(0),
                _whole(seen.newest_p95_ms),
                _whole(seen.rss_kb_per_session),
            ]
        )
    return found


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def changes(run: StoredRun) -> list[str]:
    """For each row and pair of neighbouring builds: dearer, cheaper, or not told apart; p95 and memory beside it."""
    known, said = compare([run]), []
    for row, before in _with_earlier(run):
        ratio = None if before is None else Spread.of(known.ratios(row, before))
        if before is None or ratio is None:
            continue
        reach = "" if known.reach is None else f", A/A {known.reach[0]:.3f}–{known.reach[1]:.3f}"
        was, now = _Seen.of(known, before), _Seen.of(known, row)
        verdict = f"{_verdict(known, ratio)} (× {ratio.text(3)}{reach})"
        said.append(
            f"{_base(row)}, {before.interpreter} → {row.interpreter}: {verdict}; "
            f"newest p95 {_whole(was.newest_p95_ms)} → {_whole(now.newest_p95_ms)} ms, "
            f"memory {_whole(was.rss_kb_per_session)} → {_whole(now.rss_kb_per_session)} kB per session."
        )
    return said


def _verdict(known: Comparison, ratio: Spread) -> str:
    reach = known.reach or (1.0, 1.0)
    if ratio.low <= 1 <= ratio.high or reach[0] <= ratio.median <= reach[1]:
        return "not told apart"
    return "dearer" if ratio.median > 1 else "cheaper"


def _ratio(known: Comparison, row: StoredRow, before: StoredRow) -> str:
    ratio = Spread.of(known.ratios(row, before))
    return "–" if ratio is None else ratio.text(3)


def _with_earlier(run: StoredRun) -> list[tuple[StoredRow, StoredRow | None]]:
    """Each row that ran with what it is compared to: the same row on the build before, GIL and free-threaded builds
    apart; repeats left out."""
    last: dict[tuple[str, bool], StoredRow] = {}
    found = []
    for row in run.rows:
        if row.facts["interpreter"] is None or not row.points or row.facts.get("again_of") is not None:
            continue
        kind = (_base(row), bool(row.facts["interpreter"]["free_threaded"]))
        found.append((row, last.get(kind)))
        last[kind] = row
    return found


def _base(row: StoredRow) -> str:
    return row.name.partition("@")[0]


_BUILD_HEADINGS = ("build", "compiler", "PGO", "LTO", "options")


def _builds(run: StoredRun) -> list[list[str]]:
    found = {row.interpreter: row.facts["interpreter"] for row in run.rows if row.facts["interpreter"] is not None}
    return [
        [
            tag,
            str(facts["compiler"]),
            "yes" if facts["pgo"] else "no",
            "yes" if facts["lto"] else "no",
            f"`{facts.get('configure_options') or 'none'}`",
        ]
        for tag, facts in sorted(found.items())
    ]


_WHAT = """\
One row, several interpreters, everything else alike: packages from the same lock, the same load, rows interleaved in
time. A ratio is to the same row on the build before, GIL builds and free-threaded ones apart."""

_KNOW = """\
- A package's wheel for a newer CPython may itself be compiled otherwise: a row's ratio is of interpreter and wheels.
- Memory is the largest RSS of the gateway in a point, divided by its sessions: what the interpreter and its modules
  weigh is in it, so it says what grows only where numbers of sessions are alike.
- 3.15 here is a release candidate. Two builds of one version, made alike, are not told apart by this method: see the
  A/A range beside each ratio."""
