"""What a person sees of campaigns and stored runs: plans beforehand, tables afterwards. Standard output only."""

from pathlib import Path

from experiment.report import reproduce
from experiment.report.capacity import core_speed, title, write_capacity
from experiment.report.comparison import HEADINGS, Comparison, compare, labels
from experiment.report.tables import lines_table, points_table, report_console, resolution_note
from experiment.run.campaign import CONFORMANCE_S, Campaign
from experiment.search.ladder import Tried
from experiment.search.points import Search
from experiment.store.runs import StoredRow, StoredRun


def show_plan(campaign: Campaign, taken_up: StoredRun | None = None) -> None:
    """The points as far as they are known, the time each takes, and the total; of a run taken up, what is done."""
    headings = ("row", "points", "s each", "how many (typical, at most)", "note")
    done = {} if taken_up is None else {row.name: row for row in taken_up.rows}
    lines = []
    for row in campaign.rows:
        low, high, most = row.search.points()
        many = f"{low}" if low == high == most else f"{low}–{high}, {most}"
        note = row.refused or (_done(row.search, done[row.label]) if row.label in done else "")
        lines.append((row.label, _points(row.search), f"{row.point_s:.0f}", many, note))
    console = report_console()
    console.print(lines_table(f"plan of {campaign.name}", headings, lines))
    console.print(f"{CONFORMANCE_S:.0f} s of conformance for each row; {announce_time(campaign)}")


def _done(search: Search, row: StoredRow) -> str:
    history = [Tried(point["sessions"], point["status"]) for point in row.points]
    move, _ = search.next(history)
    then = f"next {move.sessions} sessions ({move.why})" if move.sessions is not None else move.why
    return f"{len(history)} points done; {then}"


def announce_time(campaign: Campaign) -> str:
    """How long it takes."""
    low, high, most = (seconds / 60 for seconds in campaign.seconds())
    span = f"about {low:.0f} min" if round(low) == round(high) else f"about {low:.0f}–{high:.0f} min"
    return f"{span} in all, at most {most:.0f}"


def _points(search: Search) -> str:
    known = [f"{sessions} × {search.rounds}" if search.rounds > 1 else str(sessions) for sessions in search.listed]
    if search.ladder is not None:
        first = max(search.listed, default=search.ladder.start)
        growth = [round(first * search.ladder.growth**n) for n in range(1 if search.listed else 0, 4)]
        ending = "repeats at the edge" if search.ladder.confirm else "a first bracket"
        known.append(f"{', '.join(map(str, growth))} … to the first fail, halving, {ending}")
    return "; ".join(known) or "–"


def show_run(run: StoredRun, folder: Path) -> None:
    """The tables of a run, and the files that are made of it."""
    if len(run.rows) == 1:
        _show_row(run)
    else:
        show_comparison(title(run), compare([run]))
    console = report_console()
    if (speed := core_speed(run)) is not None:
        console.print(speed)
    if run.manifest["verb"] == "reproduce":
        console.print(lines_table(f"public rows on {run.machine}", reproduce.HEADINGS, reproduce.lines(run)))
        for line in [*reproduce.ratios(run), *reproduce.published()]:
            console.print(line)
    for path in write_capacity(run, folder):
        print(f"{'picture' if path.suffix == '.svg' else 'table'} {path}")


def _show_row(run: StoredRun) -> None:
    row, console = run.rows[0], report_console()
    heading = " · ".join([title(run), *labels(row)])
    console.print(points_table(heading, row.points, run.slo.failure_ratio))
    console.print(resolution_note(run.slo.failure_ratio))
    if row.bracket is not None:
        ended = row.verdict["ended"] or "interrupted"
        console.print(f"bracket ({run.shapes[0]}, {run.timing}): {row.bracket}; {ended}")


def show_comparison(heading: str, known: Comparison) -> None:
    """Rows side by side, and what each factor costs."""
    console = report_console()
    console.print(lines_table(heading, HEADINGS, known.lines()))
    console.print(known.how)
    for sentence in [*known.factors(), *known.overlaps()]:
        console.print(f"  {sentence}")
