"""Tables fit a terminal of 100 columns, say why short, and leave out columns that hold nothing."""

from pathlib import Path

from rich.console import Console

from experiment.report.comparison import compare
from experiment.report.screens import next_commands
from experiment.report.tables import WIDTH_UNKNOWN, lines_table, points_table, reason_lines
from experiment.store.points import Point
from experiment.store.runs import read_run
from experiment.terms import Gate
from tests.experiment.invented import ladder_points, manifest, point, store


def shown(table: object) -> list[str]:
    console = Console(width=WIDTH_UNKNOWN, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def bad(sessions: int) -> Point:
    stored = point(sessions, "INVALID", 123456.0, "ladder")
    stored["load"] |= {
        "newest_ms": {"p50": 44444.0, "p95": 59999.0},
        "oldest_ms": {"p50": 44444.0, "p95": 59999.0},
        "failures_total": 1234,
        "stalls": {"count": 12},
    }
    stored["harness"] = [{**gate, "measured": 5431.3} for gate in stored["harness"]]
    return Point.of(stored)


def test_the_worst_point_fits_and_its_reason_stands_below() -> None:
    lines = shown(points_table("gil · cpuset-1 · quick", [bad(12345)], 1e-5))
    assert max(map(len, lines)) <= WIDTH_UNKNOWN
    text = "\n".join(lines)
    assert all(word in text for word in ("12345", "INVALID", "44444", "59999", "1234, 12", "123456", "5431.3"))
    assert reason_lines([bad(12345)]) == ["12345 INVALID: newest p95 400 > 350 ms"]


def test_a_comparison_of_runs_fits_with_their_names_below(tmp_path: Path) -> None:
    runs = [
        read_run(store(tmp_path / str(number), manifest(dict.fromkeys(("threads-uvloop", "gil"), "cpuset-1")), points))
        for number, points in enumerate([{row: ladder_points(1000, 500) for row in ("threads-uvloop", "gil")}] * 2)
    ]
    renamed = [
        type(run)(f"{run.name}-{number}", run.manifest, run.finished, run.rows) for number, run in enumerate(runs)
    ]
    known = compare(renamed)
    headings, rows = known.screen()
    lines = shown(lines_table("two runs", headings, rows))
    assert max(map(len, lines)) <= WIDTH_UNKNOWN
    assert any(line.lstrip().startswith("threads-uvloop (2)") for line in lines)
    assert known.remarks() == [f"(1) {renamed[0].name}", f"(2) {renamed[1].name}"]


def test_an_empty_column_is_left_out() -> None:
    text = "\n".join(shown(lines_table("t", ("a", "b", "c"), [("1", "", "x"), ("2", "–", "y")])))
    assert "a" in text
    assert "b" not in text


def test_a_gate_says_what_came_and_what_the_limit_is() -> None:
    assert str(Gate("newest_p50_ms", 200, 4444.2)) == "newest p50 4444 > 200 ms"
    assert str(Gate("failure_ratio", 1e-5, None)) == "failure ratio not measured, limit 1e-05"


def test_the_last_screen_says_what_to_do_next(tmp_path: Path) -> None:
    run = read_run(store(tmp_path, manifest({"gil": "cpuset-1"}, verb="experiment"), {"gil": ladder_points(1000, 500)}))
    assert next_commands(run, Path("results/x")) == [
        "make ladder VARIANT=gil SHAPE=cpuset-1",
        "make profile VARIANT=gil SHAPE=cpuset-1 SESSIONS=500",
        "make report RUN=results/x",
    ]
