"""What `make bench` stored, as tables: costs of the core and of the draining loop, its phases, reactions of rows, and
what the harness carries.

A loop's entry is `{tag, program, turn, metered, sessions, total_us, phases_us}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from experiment.phases import KERNEL, LOOP, PHASES, POLL, WAKE
from experiment.report.costs import Spread, paired
from experiment.report.instructions import INSTRUCTION_HEADINGS, instruction_lines, kept_instructions
from experiment.report.ratios import ratio
from experiment.report.tables import lines_table, number_text, report_console
from experiment.setup import read_json

Entry = Mapping[str, Any]
TOTAL_HEADINGS = ("interpreter", "receive", "sessions", "draining loop", "kernel's floor", "ratio", "all-in ratio")
PHASE_HEADINGS = ("phase", "µs", "Python", "system calls", "the same calls, bare", "Python, bare")
BEFORE_HEADINGS = ("interpreter", "beside", "this, µs", "that, µs", "ratio")
REACTION_HEADINGS = (
    *("row", "ping p50 / p95 / max ms", "close", "violation"),
    "handshake, 2000 connections in a second: got in",
    *("RSS, KiB per session", "kernel, KiB per session: mean / most"),
)
CARRIED_HEADINGS = (
    *("receive", "sessions", "verdict", "load generator, µs", "simulator, µs"),
    *("gateway, µs", "all-in, µs", "late p99 ms", "overshoot p99 ms"),
)


@dataclass(frozen=True, slots=True)
class Totals:
    """The loop beside the floor, at one size on one build; None where nothing was measured."""

    tag: str
    receive: str
    sessions: int
    loop: Spread | None
    floor: Spread | None
    ratio: Spread | None
    all_in: Spread | None
    """The ratio with what else their core did, too."""

    @property
    def where(self) -> str:
        """What it was measured on, in words."""
        return f"CPython {self.tag}, receive = {self.receive}, {self.sessions} sessions"

    def line(self) -> tuple[str, ...]:
        """Under TOTAL_HEADINGS."""
        spreads = ((self.loop, 0), (self.floor, 0), (self.ratio, 2), (self.all_in, 2))
        texts = ("–" if each is None else each.text(digits) for each, digits in spreads)
        return (f"CPython {self.tag}", self.receive, str(self.sessions), *texts)


def totals(bench: Sequence[Entry]) -> list[Totals]:
    """By build, who receives, and size: µs per session-second of loop and floor, and their ratios, turn by turn."""
    found = []
    plain = [entry for entry in bench if not entry["metered"]]
    for key in dict.fromkeys((entry["tag"], entry.get("receive", "sender"), entry["sessions"]) for entry in plain):
        loop, floor = (_totals(plain, key, program, "total_us") for program in ("draining", "floor"))
        all_in = (_totals(plain, key, program, "all_in_us") for program in ("draining", "floor"))
        values = ([*loop.values()], [*floor.values()], paired(loop, floor), paired(*all_in))
        found.append(Totals(*key, *(Spread.of(each) for each in values)))
    return found


def total_lines(bench: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Under TOTAL_HEADINGS."""
    return [each.line() for each in totals(bench)]


def _totals(bench: Sequence[Entry], key: tuple[str, str, int], program: str, quantity: str) -> dict[str, float]:
    return {
        str(entry["turn"]): entry[quantity]
        for entry in bench
        if (entry["tag"], entry.get("receive", "sender"), entry["sessions"], entry["program"]) == (*key, program)
        and quantity in entry
    }


def phase_lines(bench: Sequence[Entry], tag: str) -> list[tuple[str, ...]]:
    """Of one build: every phase's µs per session-second, medians of the turns, beside the floor's, and their sums."""
    loop, floor = (_phases(bench, tag, program) for program in ("draining", "floor"))
    lines, sums = [], [0.0] * 5
    for phase in PHASES:
        whole_is_call = phase in (POLL, WAKE)
        mine, bare = loop.get(phase, 0.0), floor.get(phase, 0.0)
        python = 0.0 if whole_is_call else mine
        calls = mine if whole_is_call else loop.get(phase + KERNEL, 0.0)
        bare_calls = bare if whole_is_call else floor.get(phase + KERNEL, 0.0)
        bare_python = bare if phase == LOOP else 0.0
        figures = [python + calls, python, calls, bare_calls, bare_python]
        sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
        lines.append((phase, *_figures(figures)))
    return [*lines, ("sum", *_figures(sums))]


def _figures(values: Sequence[float]) -> list[str]:
    return [f"{value:.1f}" if value else "" for value in values]


def _phases(bench: Sequence[Entry], tag: str, program: str) -> dict[str, float]:
    """Medians of the metered turns."""
    turns = [
        entry["phases_us"] for entry in bench if entry["metered"] and (entry["tag"], entry["program"]) == (tag, program)
    ]
    return {phase: median(turn[phase] for turn in turns) for phase in turns[0]} if turns else {}


def reaction_lines(reactions: Mapping[str, Entry]) -> list[tuple[str, ...]]:
    """One line per row, under REACTION_HEADINGS."""
    lines = []
    for row, found in reactions.items():
        waits = (found[f"{act}_ms"] for act in ("ping", "close", "violation", "handshake"))
        times = [f"{wait['p50']:.0f} / {wait['p95']:.0f} / {wait['max']:.0f}" for wait in waits]
        times[-1] += f": {found['handshake_ms']['count']}"
        kernel = found["kernel_bytes"]
        held = "not observed" if kernel is None else f"{kernel['mean'] / 1024:.1f} / {kernel['max'] / 1024:.1f}"
        lines.append((row, *times, f"{found['rss_bytes'] / 1024:.0f}", held))
    return lines


def carried_lines(carried: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One line per point of the harness's ladders, by sessions, under CARRIED_HEADINGS."""
    return [
        (
            receive,
            str(point["sessions"]),
            point["status"],
            *(number_text(point[key], ".0f") for key in ("loadgen_us", "simulator_us", "gateway_us", "all_in_us")),
            *(number_text(point[key], ".1f") for key in ("late_p99_ms", "overshoot_p99_ms")),
        )
        for receive, found in carried.items()
        for point in sorted(found["points"], key=lambda point: int(point["sessions"]))
    ]


def carried_sentences(carried: Mapping[str, Any]) -> list[str]:
    """For each `receive`: sessions that one core carries, where the harness's last valid point is, and how it ended.

    Sessions for a core: 10⁶ µs ÷ (load generator + simulator, µs per session-second, at the last valid point)."""
    return [_carried(receive, found) for receive, found in carried.items()]


def _carried(receive: str, found: Mapping[str, Any]) -> str:
    if found["refused"] is not None:
        return f"receive = {receive}: not to be had here: {found['refused']}"
    valid = [point for point in found["points"] if point["status"] != "INVALID" and point["loadgen_us"]]
    if not valid:
        return f"receive = {receive}: the harness carried none of the loads tried ({found['run']})"
    last = max(valid, key=lambda point: int(point["sessions"]))
    per_core = 1e6 / (last["loadgen_us"] + last["simulator_us"])
    return (
        f"receive = {receive}: the harness carries {per_core:.0f} sessions per core, by its cost at "
        f"{last['sessions']}, the most that was valid; {found['ended']} ({found['run']})"
    )


def before_lines(before: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """For each build: this commit's cost by the other's, and by its own (A/A), under BEFORE_HEADINGS."""
    lines = []
    for tag, kind in dict.fromkeys((entry["tag"], entry["kind"]) for entry in before["rounds"]):
        rounds = [entry for entry in before["rounds"] if (entry["tag"], entry["kind"]) == (tag, kind)]
        mine, other = ({entry["round"]: entry["us"][place] for entry in rounds} for place in (0, 1))
        costs = (f"{median(each.values()):.1f}" for each in (mine, other))
        lines.append((f"CPython {tag}", kind, *costs, str(ratio(mine, other) or "–")))
    return lines


def core_lines(files: Sequence[Path]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Of the core's pyperf files, one for each build: headings, and one line per benchmark, µs mean ± deviation."""
    import pyperf  # only benchmarks need it

    suites = {file.stem.removeprefix("core-"): pyperf.BenchmarkSuite.load(str(file)) for file in files}
    names = next(iter(suites.values())).get_benchmark_names()
    lines = [(name, *(_cell(suite.get_benchmark(name)) for suite in suites.values())) for name in names]
    return ("one", *(f"CPython {tag}" for tag in suites)), lines


def _cell(benchmark: Any) -> str:
    return f"{benchmark.mean() * 1e6:.3f} ± {benchmark.stdev() * 1e6:.3f}"


def show_bench(folder: Path) -> None:
    """Print the tables of what a folder of `make bench` holds."""
    console = report_console()
    if files := sorted(folder.glob("core-*.json")):
        headings, lines = core_lines(files)
        console.print(lines_table("session core, µs (mean ± standard deviation)", headings, lines))
    if (draining := read_json(folder / "draining.json")) is not None:
        found = draining["loops"]
        console.print(lines_table("draining loop, µs of CPU per session-second", TOTAL_HEADINGS, total_lines(found)))
        most = max(entry["sessions"] for entry in found)
        for tag in dict.fromkeys(entry["tag"] for entry in found):
            title = f"by phase, {most} sessions, CPython {tag}"
            console.print(lines_table(title, PHASE_HEADINGS, phase_lines(found, tag)))
    if (before := read_json(folder / "before.json")) is not None:
        title = f"draining loop ÷ that of {before['revision']}, both at once, {before['sessions']} sessions each"
        console.print(lines_table(title, BEFORE_HEADINGS, before_lines(before)))
    if (reactions := read_json(folder / "reactions.json")) is not None:
        console.print(lines_table("reactions", REACTION_HEADINGS, reaction_lines(reactions)))
    if (carried := read_json(folder / "harness.json")) is not None:
        title = "what the harness carries: CPU per session-second"
        console.print(lines_table(title, CARRIED_HEADINGS, carried_lines(carried)))
        console.print("\n".join(carried_sentences(carried)))
    if (counted := read_json(folder / "instructions.json")) is not None:
        date, kept = kept_instructions()
        title = f"user instructions per session-second, by callgrind; kept of {date or 'none'}"
        console.print(lines_table(title, INSTRUCTION_HEADINGS, instruction_lines(counted["counted"], kept)))
