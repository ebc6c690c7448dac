"""The findings page of the cliff, from stored evidence: claim, evidence for and against, what would change our mind.

Every number and every verdict is computed here from the evidence that is passed in. Nothing is measured, no file read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiment.report import markdown
from profiles.cliff import hazard, race_model
from profiles.cliff.gap import Gap
from profiles.cliff.rates import HEADINGS, VERSIONS, WHY, CellRate, Evidence, cell_rates, earlier_rates, per_million

PUBLIC_STALLS, PUBLIC_FRAMES, PUBLIC_SECONDS, PUBLIC_SESSIONS = 2, 800_000, 86.0, 180
"""Of the public benchmark's free-threaded row (websocket-stt-bench): what it saw at 190 sessions, and its ceiling."""


def headline(evidence: Evidence) -> str:
    """The README's line: one plain sentence with two figures."""
    worst = max(cell_rates(evidence), key=lambda cell: cell.rate.rate if cell.name in VERSIONS else -1.0)
    return (
        "- Free-threaded Python's cliff is a hazard, not a capacity: Granian before 2.8.1 can lose a wake-up, "
        f"{worst.rate.rate * 1e6:.0f} times in a million frames when provoked: "
        "[free-threaded-cliff](docs/findings/free-threaded-cliff.md)."
    )


def page(evidence: Evidence, gap: Gap | None, pictures: Sequence[str], flames: str | None) -> str:
    """The Markdown page.

    Args:
        gap: what is left between mt and gil, if that was measured.
        pictures: files beside the page, in order.
        flames: a page beside it with flame graphs.
    """
    rates = cell_rates(evidence)
    by_name = {cell.name: cell for cell in rates}
    parts = ["# The free-threaded cliff", machine_line(evidence), "## Claim", _claim(by_name)]
    parts += ["## Evidence for", markdown(HEADINGS, [cell.line() for cell in rates]), _legend(evidence)]
    parts += [f"![{picture}]({picture})" for picture in pictures]
    parts += ["### What a stall looks like", _stall(evidence), "### The whole gateway", _points(evidence)]
    parts += ["### The two operations, interleaved", _model()]
    parts += ["### From a hazard to a ceiling", _ceiling(by_name)]
    parts += ["## Evidence against, and what stays open", _against(evidence, by_name)]
    parts += ["## What would change our mind", _mind(evidence)]
    if gap is not None:
        parts += ["## After the fix: what is left between mt and gil", gap.text()]
    if flames is not None:
        parts.append(f"Where the time goes, as flame graphs: [{flames}]({flames}).")
    parts += ["## How to repeat each step", _repeat()]
    return "\n\n".join(parts) + "\n"


def machine_line(evidence: Evidence) -> str:
    """What it was measured on."""
    machine, tags = evidence["machine"], Counter[str]()
    for cell in evidence["cells"].values():
        if cell["interpreter"]:
            tags[str(cell["interpreter"]["tag"])] += 1
    return (
        f"Measured on {machine['cpus']} × {machine['cpu_model']}, Linux {str(machine['kernel']).split('-')[0]}, "
        f"CPython {', '.join(sorted(tags))}, begun {str(evidence['started'])[:10]}. The public benchmark stops CPython "
        f"3.14t with Granian `mt` at {PUBLIC_SESSIONS} sessions, on send and close time-outs, while its latencies stay "
        "perfect."
    )


def _named(cells: Sequence[CellRate], verdict: str) -> str:
    return ", ".join(cell.name for cell in cells if cell.verdict == verdict) or "none"


def _and(cells: Sequence[CellRate]) -> str:
    return " and ".join(cell.name for cell in cells)


def _claim(cells: Mapping[str, CellRate]) -> str:
    before, fixed = ([cells[name] for name in names if name in cells] for names in (VERSIONS[:2], VERSIONS[2:]))
    held = {cell.verdict for cell in before} == {"affected"} and {cell.verdict for cell in fixed} == {"unaffected"}
    strength = (
        f"The data hold it up: {_and(before)} stall, {_and(fixed)} do not, by the table below."
        if held
        else "The data do not settle it: see the verdicts below."
    )
    return (
        "The cliff is no capacity. Up to and including 2.8.0, Granian's future for `receive()` and `send()` reads its "
        "state first and stores the callback afterwards; on a free-threaded build the result can land in between, and "
        "then nobody wakes the coroutine. Each frame carries a small chance of that, so a run of many frames meets "
        f"one, and its sessions time out while all others are served in time. {strength}\n\n"
        + " ".join(f"{word.capitalize()}: {_named(list(cells.values()), word)}." for word in WHY)
    )


def _legend(evidence: Evidence) -> str:
    settings = evidence["settings"]
    said = [f"{name}: {why}" for name, why in WHY.items()]
    refused = [
        f"{name} {'ran no further' if cell['turns'] else 'did not run'}: {cell['refused']}"
        for name, cell in evidence["cells"].items()
        if cell["refused"]
    ]
    return (
        f"{settings['clients']} clients send ten frames and wait for the acknowledgement, {settings['turns']} turns of "
        f"{settings['turn_s']:g} s each, all cells in turn; exact Poisson intervals (Garwood 1936), exact conditional "
        f"test of two rates. {'; '.join(said)} ({settings['fraction']:g} of the reference's rate). Granian's Rust task "
        f"implementation is no factor here: it is for Python up to 3.11, and 3.12 and later fall back to asyncio's."
        + "".join(f" {line}." for line in [*_neither(evidence), *refused])
    )


def _neither(evidence: Evidence) -> list[str]:
    """Connections that ended or paused without a stall, where the evidence counts them (contract 2 and later)."""
    turns = [turn for cell in evidence["cells"].values() for turn in cell["turns"] if "recovered" in turn]
    if not turns:
        return []
    recovered, closed = sum(turn["recovered"] for turn in turns), sum(len(turn["closed"]) for turn in turns)
    return [
        f"Connections that were silent and then answered: {recovered}; that the server closed: {closed}. Neither is a "
        "stall, and their frames count"
    ]


def _stall(evidence: Evidence) -> str:
    for name, cell in evidence["cells"].items():
        for turn in cell["turns"]:
            for look in turn["findings"]:
                if look and look[0]["kind"] == "lost wake-up":
                    return _finding(f"Cell {name}, while the connection stood still", look[0])
    return "No stall was captured while it lasted."


def _finding(where: str, finding: Mapping[str, Any]) -> str:
    stack = "\n".join(f"    {frame}" for frame in finding["stack"])
    return f"{where}, two looks 0.5 s apart say **{finding['kind']}**: {finding['what']}. Its stack:\n\n{stack}"


POINT_HEADINGS = (
    "row",
    "load",
    "sessions",
    "frames",
    "stalled",
    "per million frames (95 %)",
    "healthy newest p50 / p95 ms",
    "forensics",
)


def point_lines(evidence: Evidence) -> list[list[str]]:
    """One line per point, under POINT_HEADINGS."""
    lines = []
    for point in evidence["points"]:
        load = point.get("load") or {}
        if point["refused"] or not (load.get("frames") or {}).get("answered"):
            why = point["refused"] or "no frame was acknowledged"
            lines.append([point["variant"], point["timing"], str(point["sessions"]), *["–"] * 4, why])
            continue
        rate = hazard.poisson_rate(load["stalls"]["never_recovered"], load["frames"]["answered"])
        kinds = Counter(finding["kind"] for finding in point["findings"])
        lines.append(
            [
                point["variant"],
                point["timing"],
                str(point["sessions"]),
                f"{rate.exposure:,.0f}",
                str(rate.events),
                per_million(rate),
                f"{load['newest_ms']['p50']:.0f} / {load['newest_ms']['p95']:.0f}",
                ", ".join(kinds) or "nothing wrong seen",
            ]
        )
    return lines


def _points(evidence: Evidence) -> str:
    if not evidence["points"]:
        return "No point was run."
    how = (
        f"The laboratory's own gateway under its load generator ({evidence['settings']['shape']}, the harness shares "
        "its cores, so no ceilings). `burst` sends ten frames at once, `quick` one every 20 ms; amplified rows spin "
        "U(0, 80 µs) between calling `receive()` and awaiting it. Under bursts the newest frame is 100 ms old at a "
        "tick on average, which its latency counts."
    )
    captured = [point for point in evidence["points"] if any(f["kind"] == "lost wake-up" for f in point["findings"])]
    parts = [how, markdown(POINT_HEADINGS, point_lines(evidence))]
    if captured:
        point = captured[0]
        lost = next(finding for finding in point["findings"] if finding["kind"] == "lost wake-up")
        where = f"{point['variant']} under {point['timing']} load, time limits of stalled sessions paused"
        parts.append(_finding(where, lost))
        if unread := [socket["recv_queue_bytes"] for socket in point["sockets"]]:
            parts.append(f"In the kernel lay up to {max(unread):,} bytes of one session that nobody read.")
    return "\n\n".join(parts)


def _model() -> str:
    orders = {"state read before the lock (to 2.8.0)": race_model.OLD, "under the lock (from 2.8.1)": race_model.NEW}
    lines = []
    for name, steps in orders.items():
        free, gil = race_model.search(steps), race_model.search(steps, gil=True)
        lines.append([name, f"{free.lost} of {free.schedules}", f"{gil.lost} of {gil.schedules}"])
    table = markdown(("order of `add_done_callback`", "schedules that lose the wake-up", "with a GIL"), lines)
    said = "Every interleaving of `add_done_callback` with `set_result`: `python -m profiles.cliff.race_model`."
    return f"{table}\n\n{said}"


def _ceiling(cells: Mapping[str, CellRate]) -> str:
    natural = cells.get("2.7.4 no spin")
    lines = []
    known = [("the public run", hazard.poisson_rate(PUBLIC_STALLS, PUBLIC_FRAMES))]
    if natural is not None and natural.rate.events:
        known.append(("2.7.4 no spin, under bursts, here", natural.rate))
    for name, rate in known:
        ceilings = [hazard.reported_ceiling(value, PUBLIC_SECONDS) for value in (rate.high, rate.rate, rate.low)]
        chance = hazard.chance_of_none(rate.rate, PUBLIC_SESSIONS, PUBLIC_SECONDS)
        lines.append(
            [
                name,
                f"{rate.rate * 1e6:.2g} ({rate.low * 1e6:.2g} – {rate.high * 1e6:.2g})",
                f"{ceilings[1]:.0f} ({ceilings[0]:.0f} – {ceilings[2]:.0f})",
                f"{chance:.0%}",
            ]
        )
    headings = (
        "rate from",
        "stalls per million frames",
        f"sessions at which half of all runs of {PUBLIC_SECONDS:g} s show a stall",
        f"chance of none at {PUBLIC_SESSIONS} sessions",
    )
    return (
        f"{markdown(headings, lines)}\n\nThe public run is read as {PUBLIC_STALLS} stalls in {PUBLIC_FRAMES:,} frames. "
        "A limit of one failure in 100 000 answers lets no run with a stall pass at these sizes, so this is the "
        "ceiling that would have been reported, whatever the gateway can carry."
    )


def _against(evidence: Evidence, cells: Mapping[str, CellRate]) -> str:
    lines = []
    natural = cells.get("2.7.4 no spin")
    if natural is not None:
        lines.append(
            f"Without the spin the rate is {natural.rate} frames under bursts. The spin moves the await, not the two "
            "operations, but the rates of amplified cells are not those of a production load."
        )
    for name, what in (
        ("2.7.4 one core", "One core"),
        ("2.7.4 GIL", "The GIL build"),
        ("2.8.0 GIL", "The GIL build, 2.8.0"),
        ("2.7.4 st", "Granian's `st` runtime"),
    ):
        if name in cells:
            lines.append(f"{what}: {cells[name].rate} frames, {cells[name].verdict}.")
    if "2.7.4 st" in cells and cells["2.7.4 st"].rate.events:
        lines.append(
            "So `mt` is not needed for the stall: a Rust thread and one Python thread on two cores are enough."
        )
    lines += [
        f"{name} did not stall this time. It did on {day}: {rate} frames. So it is not excluded, only rare."
        for day, name, rate in earlier_rates(evidence, cells)
    ]
    one = cells.get("2.7.4 one core")
    if one is not None and one.rate.events and one.ratio is not None:
        rarer = "only makes it rarer" if one.ratio.high < 1 else "and does not show to make it rarer"
        lines.append(
            f"A single core does not exclude it, {rarer} (× {one.ratio.ratio or 0:.2g} of the reference's rate, "
            f"{one.ratio.low:.2g} – {one.ratio.high:.2g}): a thread that is preempted between reading the state and "
            "storing the callback is enough."
        )
    lines.append(
        "The public run itself was on 32 cores and another kernel. Its rate is not ours, and that its time-outs were "
        "this race is inferred from the mechanism and from its symptoms; nobody looked into its processes."
    )
    for point in evidence["points"]:
        load = point.get("load") or {}
        if point["refused"] or not (load.get("frames") or {}).get("answered") or "amplified" in point["variant"]:
            continue
        lines.append(
            f"{point['variant']} under {point['timing']} load, nothing added: {load['stalls']['never_recovered']} "
            f"stalled in {load['frames']['answered']:,} frames."
        )
    return "\n".join(f"- {line}" for line in lines)


def _mind(evidence: Evidence) -> str:
    reference = evidence["settings"]["reference"]
    return "\n".join(
        [
            "- A stall on Granian 2.8.1 or newer whose forensics name a lost wake-up of `receive()` or `send()`.",
            f"- A stall of {reference} on the GIL build of that kind.",
            f"- Stalls of {reference} whose forensics find a loop that is late or a thread that is blocked, and no "
            "lost wake-up.",
            "- The old order of operations with no losing schedule, or the new one with one: the model would be wrong.",
        ]
    )


def _repeat() -> str:
    return "\n".join(
        [
            "- The table, the captured stall and the points: `make cliff` (it says how long it takes), then "
            "`make report RUN=results/<run>`.",
            "- One stall within the time it prints, without this laboratory: "
            "`profiles/cliff/reproducer/lost_wakeup.py`, with Granian 2.7.4 on 3.14t; on 2.8.1 it ends with status 0. "
            "Status 3 is no verdict.",
            "- The interleavings: `python -m profiles.cliff.race_model`.",
            "- The gap: `make compare VARIANTS=gil,st-ft,mt-one-loop,mt SESSIONS=300 LADDER=no`.",
            "- A stall in a gateway of yours: `python -m profiles forensics --pid PID --port PORT`.",
        ]
    )
