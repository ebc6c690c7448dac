"""The README's first screen: one picture and four findings, each a plain sentence with a link. Text from stored runs.

The fifth finding, the cliff's, is `profiles`'. Every sentence has at most 200 characters and two figures.
"""

from collections.abc import Sequence

from experiment.ask import ConfigError
from experiment.report.comparison import Comparison, compare
from experiment.report.costs import Spread
from experiment.report.figures import Bar
from experiment.report.pages.languages import is_foreign
from experiment.report.sentences import carries, receiving
from experiment.store import StoredRow, StoredRun
from experiment.terms import Bracket

BEGIN = "<!-- front:begin, written by `python -m experiment publish-front` -->"
END = "<!-- front:end -->"
PAGES = "docs/findings"


def bars(run: StoredRun) -> list[Bar]:
    """The rows of one run at the same shape and load, cheapest first.

    Raises:
        ConfigError: its rows share no shape or no load.
    """
    known = compare([run])
    if len(run.shapes) > 1 or known.sessions is None:
        raise ConfigError(f"{run.name}: expected one shape and one load for all rows, for one picture")
    found = []
    for row in known.rows:
        cost, all_in = (Spread.of(list(known.costs(row, all_in=each).values())) for each in (False, True))
        if cost is not None:
            found.append(Bar(row.name, cost, all_in, _searched(row.bracket), is_foreign(row)))
    return sorted(found, key=lambda bar: bar.cost.median)


def _searched(bracket: Bracket | None) -> Bracket | None:
    """A bracket with an end above: what only listed points gave says nothing of a ceiling."""
    ended = bracket is not None and (bracket.failed is not None or bracket.harness_ends is not None)
    return bracket if ended else None


def caption(run: StoredRun) -> str:
    """What the picture shows, and of which run it is."""
    at = ", ".join([f"{compare([run]).sessions} sessions", *run.shapes, *receiving(run), run.timing, run.machine])
    return f"{at}. Orange: other languages. One run, begun {run.manifest['started'][:16].replace('T', ' ')}."


def findings(stock: StoredRun, languages: StoredRun, draining: StoredRun) -> list[str]:
    """Four sentences.

    Raises:
        ConfigError: a run lacks a row that one of them speaks of.
    """
    return [
        _carried(draining),
        _beside_languages(compare([languages])),
        _stock(stock),
        _server_stack(compare([stock])),
    ]


def _carried(run: StoredRun) -> str:
    mine, base = _row(run, "drain"), _row(run, "gil-h1")
    times = carries(mine, base, 1)
    if times is None:
        raise ConfigError(f"{run.name}: expected ceilings of drain and gil-h1")
    return _said(
        f"Pure Python that no frame wakes up carries {times} times the sessions of the stock stack in a tenth of a "
        "vCPU",
        "draining",
    )


def _beside_languages(known: Comparison) -> str:
    rows = {row.name: row for row in known.rows}
    if missing := [name for name in ("drain", "rust-sync", "cpp-uws") if name not in rows]:
        raise ConfigError(f"expected rows {', '.join(missing)} beside other languages")
    ratios = [Spread.of(known.ratios(rows["drain"], rows[name], all_in=True)) for name in ("rust-sync", "cpp-uws")]
    rust, cpp = ("–" if each is None else f"{each.median:.2f}" for each in ratios)
    return _said(
        f"With receiving paid for by all, that gateway takes {rust} of the CPU of a Rust one and {cpp} of a C++ one, "
        "which each frame wakes up: the design is ahead, not the language",
        "other-languages",
    )


def _stock(run: StoredRun) -> str:
    passed = [row.bracket.passed if row.bracket else None for row in (_row(run, "gil"), _row(run, "mt"))]
    return _said(
        f"On one core the stock stack carries {passed[0]} sessions with the GIL, and {passed[1]} on free-threaded "
        "Python with Granian's newest",
        "stock-and-threads",
    )


def _server_stack(known: Comparison) -> str:
    ratio = next(
        (ratio for _, one, other, ratio in known.factor_ratios() if (one, other) == ("gil", "gil-picows")), None
    )
    if ratio is None:
        raise ConfigError("expected gil and gil-picows at the same load")
    return _said(
        f"More than half of the CPU is the server stack's: the same session core on a bare WebSocket library takes "
        f"{ratio:.2f} of it",
        "stock-and-threads",
    )


def _row(run: StoredRun, name: str) -> StoredRow:
    for row in run.rows:
        if row.name == name:
            return row
    raise ConfigError(f"{run.name}: expected a row {name}")


def _said(sentence: str, page: str) -> str:
    return f"{sentence}: [{page}]({PAGES}/{page}.md)."


def block(picture: str, said: str, sentences: Sequence[str]) -> str:
    """What stands between BEGIN and END."""
    head = [f"![CPU and sessions, row by row]({picture})", "", f"*{said}*", ""]
    return "\n".join([*head, *(f"- {sentence}" for sentence in sentences)])
