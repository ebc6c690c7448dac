"""The draining gateway's findings: the page of `make bench`'s figures and of comparisons. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiment.host import PAUSE_S
from experiment.report.bench import (
    PHASE_HEADINGS,
    REACTION_HEADINGS,
    TOTAL_HEADINGS,
    Entry,
    before_lines,
    phase_lines,
    reaction_lines,
    total_lines,
    totals,
)
from experiment.report.comparison import compare
from experiment.report.costs import Spread
from experiment.report.pages.languages import is_foreign
from experiment.report.sentences import against_first, carries, most_passed, receiving, tables
from experiment.report.tables import markdown
from experiment.store import StoredRun


def page(
    figures: Mapping[str, Any], runs: Mapping[str, StoredRun], picture: str, levers: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The findings as Markdown.

    Args:
        figures: of `make bench`: `{"loops": […], "pauses": {tag: …}, "reactions": {row: …}}`.
        runs: comparisons, each with the path of its kept evidence.
        picture: of the first of them.
        levers: of `make bench BEFORE=…`.

    Rows of other languages that a comparison has stand on a page of their own.
    """
    runs = {
        path: replace(run, rows=tuple(row for row in run.rows if not is_foreign(row))) for path, run in runs.items()
    }
    bench, pauses, reactions = figures["loops"], figures["pauses"], figures["reactions"]
    tags = list(dict.fromkeys(entry["tag"] for entry in bench))
    largest = max(entry["sessions"] for entry in bench)
    machine = next(iter(runs.values())).machine
    parts = [
        "# Draining: no wake-up per frame",
        f"Measured on {machine}, CPython {', '.join(tags)}. {_WHAT}",
        "\n".join(
            f"- {line}" for line in [*_claims(bench), *(said for run in runs.values() for said in against_first(run))]
        ),
    ]
    parts += ["## The aims", markdown(AIM_HEADINGS, aims(bench, list(runs.values())))]
    parts.append(f"![{', '.join(row.name for row in next(iter(runs.values())).rows)}]({picture})")
    for evidence, run in runs.items():
        names = ", ".join(dict.fromkeys(row.name for row in run.rows))
        parts += [f"## {names}: {', '.join([*run.shapes, *receiving(run), run.timing])}", *tables(evidence, run)]
    parts += ["## Beside the kernel's floor", _FLOOR, markdown(TOTAL_HEADINGS, total_lines(bench))]
    parts.append("µs of CPU per session-second: median (lowest–highest); ratios turn by turn.")
    for tag in tags:
        parts += [
            f"### Where they go: {largest} sessions, CPython {tag}",
            markdown(PHASE_HEADINGS, phase_lines(bench, tag)),
        ]
    parts += [
        _PHASES,
        _paused(pauses),
        "## What it costs",
        markdown(REACTION_HEADINGS, reaction_lines(reactions)),
        _COSTS,
    ]
    parts += ["## What was tried"]
    if levers:
        parts += [_LEVERS, markdown(LEVER_HEADINGS, lever_lines(levers))]
    parts += [_TRIED, "## What to know before using the idea", _KNOW]
    return "\n\n".join(parts) + "\n"


AIM_HEADINGS = ("aim", "where", "measured", "reached")
COST_AIM, CEILING_AIM, FLOOR_AIM = 1 / 18, 15.0, 2.0


def aims(bench: Sequence[Entry], runs: Sequence[StoredRun]) -> list[list[str]]:
    """What was aimed at, each with every measurement of it."""
    found = []
    for run in runs:
        rows = {row.name: row for row in run.rows}
        drain, stock = rows.get("drain"), rows.get("gil-h1")
        if drain is None or stock is None or run.receives != ("sender",):
            continue
        where = f"{', '.join(run.shapes)}, receive = sender"
        known = compare([run])
        cost = Spread.of(known.ratios(drain, stock))
        if cost is not None:
            measured = f"1/{1 / cost.median:.1f} at {known.sessions} sessions"
            found.append(["1/18 of gil-h1's cost at equal load", where, measured, _reached(cost.median <= COST_AIM)])
        carried = carries(drain, stock, 2)
        if carried is not None:
            is_reached = most_passed(drain) >= CEILING_AIM * most_passed(stock) > 0
            found.append(["15 × gil-h1's sessions", where, f"{carried} times", _reached(is_reached)])
    for each in totals(bench):
        for name, ratio in (("own", each.ratio), ("all-in", each.all_in)):
            if ratio is not None:
                is_reached = ratio.median <= FLOOR_AIM
                found.append(
                    [f"2 × the kernel's floor, {name}", each.where, f"{ratio.text(2)} ×", _reached(is_reached)]
                )
    return found


def _reached(is_reached: bool) -> str:
    return "yes" if is_reached else "no"


LEVER_HEADINGS = ("what changed", "interpreter", "beside the commit before", "beside itself")


def lever_lines(levers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A change's cost by that of the commit before it, both at once, with A/A; one line for each build."""
    found = []
    for lever in levers:
        by_kind = {(tag, kind): ratio for tag, kind, _, _, ratio in before_lines(lever)}
        for tag in dict.fromkeys(tag for tag, _ in by_kind):
            ratios = (by_kind.get((tag, kind), "–") for kind in ("before", "a/a"))
            found.append([f"{lever['subject']} ({lever['this']} ÷ {lever['revision']})", tag, *ratios])
    return found


def _of_ours(run: StoredRun) -> StoredRun:
    return replace(run, rows=tuple(row for row in run.rows if not is_foreign(row)))


def _paused(pauses: Mapping[str, Entry]) -> str:
    """How much slower a core is that has just slept."""
    said = ", ".join(
        f"{found['after_pause_us'] / found['busy_us']:.2f} times as long on CPython {tag}"
        for tag, found in pauses.items()
    )
    return (
        f"After a sleep of {PAUSE_S * 1000:.0f} ms the same piece of Python takes, for a millisecond, {said} as in a "
        "busy loop on this machine. A session-second costs less on a busier core: compare rows at the same use of it."
    )


def _claims(bench: Sequence[Entry]) -> list[str]:
    """The loop against the floor, in a sentence for each build."""
    said = []
    for each in totals(bench):
        *_, loop, floor, ratio, _ = each.line()
        said.append(f"{each.where}: {loop} µs beside a floor of {floor}: {ratio} times it.")
    return said


_WHAT = """\
An answer is due once a second, so nothing needs to happen when a frame comes: the kernel's buffer keeps the audio,
and the gateway fetches a second of it when its tick comes, with one read, one vectorised check and unmask, one POST.
Ticks of many sessions fall together: each session's phase is drawn at random, as the contract has it, and then moved
to the next twenty-millisecond round of its loop, so that serving neighbours together delays nobody."""

_FLOOR = """\
The floor is a bare loop that polls, receives and sends as often as the row does (twice a second a receive, a POST, an
answer, a partial; fifty polls and sleeps a second), on the same real sockets, and looks at no byte. It cannot be
beaten by any program that reads, posts and answers once a second over TCP; what it leaves out is Python's and NumPy's
share."""

_PHASES = """\
Taken with a meter at every phase, whose own cost is calibrated hot and taken off; cold it costs more, so that sums
lie above the unmetered totals. Most of Python's share is coming back to code and objects after half a megabyte of
other memory: `make bench` has the core hot, in a loop of its own."""

_COSTS = """\
Pings, closes and violations wait for the next look: at most `look_interval_ms`, by default 900, within the contract's
second. The kernel's memory is what the receive queue is charged (`ss`, skmem): a frame of 648 bytes counts as up to
2304. It is asked for up front (SO_RCVBUF of 512 KiB, 3 s of audio and more), v1 memory groups do not charge it, v2
groups do; past it TCP's window closes and the sender waits, and what a slow tick then finds goes through the
contract's bounded buffer and its overflow."""

_KNOW = """\
- It fits where an answer is due at a known time. A gateway that must react to each frame gains nothing.
- Latency is bought at no price here: audio waits for the tick in any gateway of this contract. Answers wait for the
  next round, ten milliseconds on average.
- Ticks that fall together reach the inference server together: a fiftieth of all sessions every twenty milliseconds.
- The kernel's buffer is the session's buffer: a gateway that stops for longer than it holds pushes back on its
  clients.
- "Frames taken off the socket" happens once a second, so ages in error messages count from there.
- Time-outs of dead peers are epoll's: a hang-up wakes the loop, silence does not.
- Under a CFS quota a busy thread overruns its slice and is throttled for periods: p95 is what fails first, not the
  mean."""

_LEVERS = """\
`make bench BEFORE=<commit>` runs two commits' loops at once on one core, so that both meet the same clock rate and
neighbours: ratios of the same round, geometric mean with Student's 95 % interval. Kept: audio that has come between two
ticks is left to the kernel, where a look has seen that it is nothing else; an answer's members are passed on as they
came, without a number being read. Not kept: a whole round at once, which gains little for a second kind of look;
unmasking in place, where each frame is a piece of its own to the kernel; a table for timers, which makes no difference,
since the heap holds grains and not timers."""

_TRIED = """\
Before that, by hand, two checkouts in turn under `python -m experiment.bench.draining`; what it gave lies in the spread
of a machine that changes its speed by a third, so directions only:

- Kept: ticks that fall on the rounds of a loop, where grains of four milliseconds served whoever was due; frames of
  the look between two ticks held undecoded until the tick (since then left to the kernel); the inference server's
  answer read by a template, its head by memory; the header check as one comparison of bytes; audio let go of once its
  POST is written; all looks of a round before its ticks.
- Dropped: rounds of 5 and 10 ms (dearer) and of 50 and 100 ms (cheaper, but answers come later and ticks reach the
  inference server in larger bursts); every socket of a round read into an area of its own first and every POST
  written last (no better than looks before ticks, and more code); unmasking into one fixed buffer (no gain: what
  costs is the read).
- Not tried: io_uring. Its binding liburing has a wheel for the GIL build (abi3), none for the free-threaded one."""
