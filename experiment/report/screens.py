"""What a person sees of stored runs: tables, the bracket, the picture, and what to do next. Standard output only."""

from pathlib import Path

from experiment.report import reproduce
from experiment.report.capacity import core_speed, title, write_capacity
from experiment.report.comparison import Comparison, compare, labels
from experiment.report.tables import lines_table, points_table, reason_lines, report_console, resolution_note
from experiment.store import StoredRun


def show_run(run: StoredRun, folder: Path) -> None:
    """The tables of a run, the files that are made of it, and the commands that make sense next."""
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
    for command in next_commands(run, folder):
        print(f"next    {command}")


def _show_row(run: StoredRun) -> None:
    row, console = run.rows[0], report_console()
    heading = " · ".join([title(run), *labels(row)])
    console.print(points_table(heading, row.points, run.slo.failure_ratio))
    for line in reason_lines(row.points):
        console.print(line, markup=False)
    console.print(resolution_note(run.slo.failure_ratio))
    if row.bracket is not None:
        ended = row.verdict["ended"] or "interrupted"
        console.print(f"bracket ({run.shapes[0]}, {run.timing}): {row.bracket}; {ended}")


def show_comparison(heading: str, known: Comparison) -> None:
    """Rows side by side, and what each factor costs."""
    console = report_console()
    headings, lines = known.screen()
    console.print(lines_table(heading, headings, lines))
    for line in known.remarks():
        console.print(f"  {line}", markup=False)
    console.print(known.how)
    for sentence in [*known.factors(), *known.overlaps()]:
        console.print(f"  {sentence}", markup=False)


def next_commands(run: StoredRun, folder: Path) -> list[str]:
    """Two or three commands that go on from a run: its ceiling confirmed, what stands in the way, a report of it."""
    ours = [row for row in run.rows if row.points and row.interpreter != "–"]
    said = []
    if len(run.rows) == 1 and ours and run.manifest["verb"] == "experiment":
        said.append(f"make ladder VARIANT={ours[0].name} SHAPE={run.shapes[0]}")
    if ours and run.timing != "smoke":
        row = ours[0]
        known = row.bracket
        sessions = (known.passed if known and known.passed else None) or row.points[-1].sessions
        variant, shape = row.facts["variant"]["name"], row.facts["shape"]["name"]
        said.append(f"make profile VARIANT={variant} SHAPE={shape} SESSIONS={sessions}")
    return [*said, f"make report RUN={folder}"]
