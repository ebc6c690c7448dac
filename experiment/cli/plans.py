"""What a campaign is going to do, for a person: its points as far as they are known, and how long they take."""

from experiment.report import lines_table, report_console
from experiment.run import CONFORMANCE_S, Campaign
from experiment.search import Search
from experiment.store import StoredRow, StoredRun
from experiment.terms import Tried


def show_plan(campaign: Campaign, taken_up: StoredRun | None = None) -> None:
    """The points as far as they are known, the time each takes, and the total; of a run taken up, what is done."""
    headings = ("row", "points", "s each", "how many (typical, at most)", "note")
    done = {} if taken_up is None else {row.name: row for row in taken_up.rows}
    lines = []
    for row in campaign.rows:
        search = campaign.searches[row.label]
        low, high, most = search.points()
        many = f"{low}" if low == high == most else f"{low}–{high}, {most}"
        note = row.refused or (_done(search, done[row.label]) if row.label in done else "")
        begins = "" if row.probe is None else f"a probe of {row.probe.sessions[0]}; then about "
        lines.append(
            (row.label, begins + _points(search), "–" if row.plan is None else f"{row.plan.point_s:.0f}", many, note)
        )
    console = report_console()
    console.print(lines_table(f"plan of {campaign.name}", headings, lines))
    console.print(f"{CONFORMANCE_S:.0f} s of conformance for each row; {announce_time(campaign)}")


def _done(search: Search, row: StoredRow) -> str:
    history = [Tried(point.sessions, point.status) for point in row.points]
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
