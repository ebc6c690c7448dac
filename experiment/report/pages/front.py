"""The README's first screen: one picture and four findings, each a plain sentence with a link. Text from stored runs.

The fifth finding, the cliff's, is `profiles`'. Every sentence has at most 200 characters and two figures.
"""

from collections.abc import Sequence

from experiment.ask import ConfigError
from experiment.report.comparison import Comparison, compare
from experiment.report.costs import Spread
from experiment.report.figures import Bar
from experiment.report.pages.languages import is_foreign
from experiment.report.sentences import carries
from experiment.store import StoredRow, StoredRun, compared
from experiment.terms import Bracket

BEGIN = "<!-- front:begin, written by `python -m experiment publish-front` -->"
END = "<!-- front:end -->"
PAGES = "docs/findings"


def comparable(stock: StoredRun, languages: StoredRun) -> bool:
    """Whether one machine measured both, by one contract: only then do they stand in one picture."""
    unlike = (what.split()[0] for what, _, _ in compared(stock.manifest, languages.manifest))
    return not {"machine", "contract"}.intersection(unlike)


def bars(stock: StoredRun, languages: StoredRun) -> list[Bar]:
    """The rows of two runs at the same shape and load, cheapest first; a row that both have is the first's. Where they
    are not comparable, of the first alone.

    Raises:
        ConfigError: the runs do not share shape, timing and load.
    """
    runs = [stock, languages] if comparable(stock, languages) else [stock]
    known = [compare([run]) for run in runs]
    loads = {(*run.shapes, run.timing, each.sessions) for run, each in zip(runs, known, strict=True)}
    if len(loads) > 1 or known[0].sessions is None:
        raise ConfigError(f"{stock.name} and {languages.name}: expected one shape, timing and load, for one picture")
    found: dict[str, Bar] = {}
    for comparison in known:
        for row in comparison.rows:
            cost = Spread.of(list(comparison.costs(row).values()))
            if cost is not None:
                found.setdefault(row.name, Bar(row.name, cost, _searched(row.bracket), is_foreign(row)))
    return sorted(found.values(), key=lambda bar: bar.cost.median)


def _searched(bracket: Bracket | None) -> Bracket | None:
    """A bracket with an end above: what only listed points gave says nothing of a ceiling."""
    ended = bracket is not None and (bracket.failed is not None or bracket.harness_ends is not None)
    return bracket if ended else None


def caption(stock: StoredRun, languages: StoredRun) -> str:
    """What the picture shows, and of which runs it is."""
    at = f"{compare([stock]).sessions} sessions, {', '.join(stock.shapes)}, {stock.timing}, {stock.machine}"
    first, second = (run.manifest["started"][:16].replace("T", " ") for run in (stock, languages))
    if not comparable(stock, languages):
        return f"{at}. Begun {first}. Other languages were measured on {languages.machine}: a page of their own."
    return f"{at}. Orange: other languages. Two runs, begun {first} and {second}."


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
    ratios = [Spread.of(known.ratios(rows["drain"], rows[name])) for name in ("rust-sync", "cpp-uws")]
    rust, cpp = ("–" if each is None else f"{each.median:.2f}" for each in ratios)
    return _said(
        f"At the same load that gateway takes {rust} of the CPU of a Rust one and {cpp} of a C++ one, which each frame "
        "wakes up: the design is ahead, not the language",
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
