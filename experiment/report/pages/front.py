"""The README's block: what a run found, in a few lines and a picture. Text from stored figures; it judges nothing."""

from pathlib import Path
from statistics import median

from experiment.ask import ConfigError
from experiment.report.capacity import title
from experiment.report.comparison import Comparison, compare
from experiment.report.tables import number_text, pair_text
from experiment.store import Point, StoredRow, StoredRun


def headline(run: StoredRun, picture: Path, page: Path) -> str:
    """Markdown of a few points, two for several rows, then the picture; other findings' lines stand above them.

    Raises:
        ConfigError: the run gives no ceiling.
    """
    if all(row.bracket is None for row in run.rows):
        raise ConfigError(f"{run.name}: the harness shared the gateway's cores, which gives no ceiling to publish")
    at = f"{', '.join(run.shapes)}, timing {run.timing}; {run.machine}"
    said = [*_alone(run.rows[0]), f"{at}."] if len(run.rows) == 1 else _several(run, at)
    said[-1] += f" Every point, and what ran: [{page}]({page})."
    return "\n".join([*(f"- {line}" for line in said), "", f"![{title(run)}]({picture})"])


def _alone(row: StoredRow) -> list[str]:
    said = [
        f"**{row.name}** ({row.facts['variant']['about']}; CPython {row.interpreter}) **{row.bracket}** sessions, "
        f"{len(row.points)} points."
    ]
    known = row.bracket
    passed = None if known is None else _last(row, known.passed, "PASS")
    if passed is not None:
        load = passed.load
        said += [
            f"At {passed.sessions} sessions: newest p50/p95 {pair_text(load.newest_ms)} ms, oldest "
            f"{pair_text(load.oldest_ms)} ms, {load.failures_total} failures.",
            f"That is **{number_text(passed.cost_us, '.0f')} µs of CPU per session-second**: fifty frames in, one "
            "answer out.",
        ]
    failed = None if known is None else _last(row, known.failed, "FAIL")
    if failed is not None:
        said.append(f"At {failed.sessions}: {failed.reasons[0] if failed.reasons else 'no reason stored'}.")
    return said


def _several(run: StoredRun, at: str) -> list[str]:
    known = compare([run])
    measured = [row for row in run.rows if row.bracket is not None]
    ranked = sorted(measured, key=lambda row: -((row.bracket and row.bracket.passed) or 0))
    factors = _factors(known)
    return [
        f"Sessions carried ({at}): " + "; ".join(f"**{row.name}** {row.bracket}" for row in ranked) + ".",
        f"CPU per session-second at {known.sessions} sessions, on CPython as found: {_costs(known)}."
        + (f" One factor at a time: {factors}." if factors else ""),
    ]


def _costs(known: Comparison) -> str:
    costs = [(row, median(values)) for row in known.rows if (values := list(known.costs(row).values()))]
    ordered = sorted(costs, key=lambda cost: cost[1])
    return ", ".join(f"{row.name} ({row.interpreter}) {cost:.0f} µs" for row, cost in ordered)


def _factors(known: Comparison) -> str:
    return "; ".join(f"{name} {one} → {other} × {ratio:.2f}" for name, one, other, ratio in known.factor_ratios())


def _last(row: StoredRow, sessions: int | None, status: str) -> Point | None:
    """The last point with that outcome at an end of the bracket."""
    found = [point for point in row.points if point.sessions == sessions and point.status == status]
    return found[-1] if found else None
