"""The picture of a run: latency over sessions with the SLO drawn in. Draws what the summaries say, judges nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiment.ask import Slo
from experiment.report.costs import Spread
from experiment.store import Point
from experiment.terms import Bracket

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"PASS": "tab:green", "FAIL": "tab:red", "INVALID": "tab:orange"}
_CURVES = (("newest_ms", "p50", "newest_p50_ms"), ("newest_ms", "p95", "newest_p95_ms"))
_OLDEST = (("oldest_ms", "p50", "oldest_p50_ms"), ("oldest_ms", "p95", "oldest_p95_ms"))


def latency_figure(title: str, rows: Mapping[str, Sequence[Point]], slo: Slo, path: Path) -> None:
    """Write an SVG or PNG (by the suffix of `path`): newest and oldest p50 and p95 in ms over sessions, by row."""
    figure = new_figure(9, 3.8)
    for axes, curves, name in zip(figure.subplots(1, 2), (_CURVES, _OLDEST), ("newest", "oldest"), strict=True):
        for number, (row, points) in enumerate(rows.items()):
            colour = "0.35" if len(rows) == 1 else f"C{number % 10}"
            _row(axes, curves, points, colour, name if len(rows) == 1 else row)
        for (_, _, limit), style in zip(curves, ("-", "--"), strict=True):
            axes.axhline(getattr(slo, limit), linestyle=style, linewidth=1, color="tab:blue")
        limits = " / ".join(f"{getattr(slo, limit):g}" for _, _, limit in curves)
        axes.set_title(f"{name}-frame latency; blue: SLO {limits} ms", fontsize=9)
        axes.set_xlabel("sessions")
        axes.set_ylabel("ms, from due time to arrival")
        axes.set_yscale("log")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7, loc="upper left")
    figure.suptitle(f"{title} — green passed, red failed, orange invalid", fontsize=10)
    save(figure, path)


def rows_figure(title: str, bars: Sequence[tuple[str, Bracket | None, Spread | None]], path: Path) -> None:
    """Write an SVG or PNG of rows beside each other: sessions carried, and µs per session-second with its range."""
    figure = new_figure(9, 1.2 + 0.42 * len(bars))
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(bars), 0, -1)
    for place, (_, bracket, cost) in zip(places, bars, strict=True):
        if bracket is not None:
            passed, failed = bracket.passed or 0, bracket.failed
            left.barh(place, passed, color="tab:green", height=0.6)
            if failed is not None:
                left.barh(place, failed - passed, left=passed, color="tab:red", alpha=0.35, height=0.6)
            left.annotate(f" {passed} ↔ {failed or '?'}", (failed or passed, place), va="center", fontsize=8)
        if cost is not None:
            spread = [[cost.median - cost.low], [cost.high - cost.median]]
            right.barh(place, cost.median, xerr=spread, color="tab:blue", height=0.6, ecolor="0.2", capsize=2)
            right.annotate(f"  {cost.median:.0f}", (cost.high, place), va="center", fontsize=8)
    left.set_yticks(list(places), [name for name, _, _ in bars], fontsize=8)
    left.set_title("sessions: passed ↔ failed", fontsize=9)
    right.set_title("gateway CPU, µs per session-second", fontsize=9)
    for axes in (left, right):
        axes.margins(x=0.2)
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(title, fontsize=10)
    save(figure, path)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the front page's picture."""

    name: str
    cost: Spread
    """µs per session-second, of the gateway's group."""
    all_in: Spread | None
    """The same, of all that ran on its CPUs."""
    bracket: Bracket | None
    """Where its ceiling is known at the same shape."""
    foreign: bool


def front_figure(bars: Sequence[Bar], path: Path) -> None:
    """Write an SVG or PNG of rows beside each other, in their order; foreign ones in a colour of their own."""
    figure = new_figure(9, 1.0 + 0.26 * len(bars))
    left, right = figure.subplots(1, 2, sharey=True)
    places = list(range(len(bars), 0, -1))
    for place, bar in zip(places, bars, strict=True):
        colour, bracket = "tab:orange" if bar.foreign else "tab:blue", bar.bracket
        whole = max(bar.cost.median, bar.all_in.median) if bar.all_in is not None else bar.cost.median
        left.barh(place, whole, color=colour, height=0.65, alpha=0.35)
        left.barh(place, bar.cost.median, color=colour, height=0.65)
        beside = f" {bar.cost.median:.0f}" + ("" if bar.all_in is None else f" / {bar.all_in.median:.0f}")
        left.annotate(beside, (whole, place), va="center", fontsize=8)
        if bracket is not None:
            more = "" if bracket.failed is not None else " or more"
            right.barh(place, bracket.passed or 0, color=colour, height=0.65)
            right.annotate(f" {bracket.passed}{more}", (bracket.passed or 0, place), va="center", fontsize=8)
        else:
            right.annotate(" not searched", (0, place), va="center", fontsize=8, color="0.5")
    left.set_yticks(places, [bar.name for bar in bars], fontsize=9)
    left.set_title("CPU, µs per session-second, own / all-in: less is better", fontsize=9)
    right.set_title("sessions carried on one core: more is better", fontsize=9)
    for axes in (left, right):
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3, axis="x")
    save(figure, path)


def memory_figure(rows: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Write an SVG or PNG (by the suffix of `path`): RSS in MiB over sessions, a line for each row."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    for name, points in rows.items():
        ordered = sorted(points)
        axes.plot([at for at, _ in ordered], [rss / 2**20 for _, rss in ordered], "o-", label=name)
    axes.set_xlabel("sessions")
    axes.set_ylabel("RSS of the gateway in MiB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save(figure, path)


def new_figure(width_inches: float, height_inches: float) -> "Figure":
    """An empty one. matplotlib is half of a command's start, so that only who draws pays for it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def save(figure: "Figure", path: Path) -> None:
    """Write an SVG or PNG, by the suffix: text stays text, and two drawings of the same figures are the same file."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gateway-lab"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=140)


def save_all(figures: "Mapping[str, Figure | None]", folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Write each picture that there is under its name, in each format; the paths of the first one."""
    first, *others = suffixes
    written = []
    for name, figure in figures.items():
        if figure is not None:
            for suffix in (first, *others):
                save(figure, folder / f"{name}{suffix}")
            written.append(folder / f"{name}{first}")
    return written


def _row(axes: "Axes", curves: Sequence[tuple[str, str, str]], points: Sequence[Point], colour: str, name: str) -> None:
    ordered = sorted(points, key=lambda point: point.sessions)
    for (table, key, _), style in zip(curves, ("-", "--"), strict=True):
        seen = [
            (point.sessions, value, point.status)
            for point in ordered
            if (value := getattr(getattr(point.load, table), key)) is not None
        ]
        axes.plot([s for s, _, _ in seen], [v for _, v, _ in seen], style, color=colour, label=f"{name} {key}")
        axes.scatter(
            [s for s, _, _ in seen], [v for _, v, _ in seen], c=[_COLOURS[st] for _, _, st in seen], s=14, zorder=3
        )
