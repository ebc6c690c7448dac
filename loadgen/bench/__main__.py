"""`python -m loadgen.bench`: what the load generator costs beside a bare loop that only sends.

A is the real worker, B sends the same frames on as many sockets at the same rate in the same 1 ms slots and does
nothing else; both on one core, to the same sink on another, in turn. Nothing here is part of a run.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from loadgen.afterwards.summary import summarise
from loadgen.bench.bare import WARMUP_S, Measured, bare_loop
from loadgen.bench.sink import run_sink
from loadgen.fleet import Event, run_fleet
from loadgen.schedule import Timing
from loadgen.worker import Plan

_RAMP_S = 3.0
_GOAL_RATIO, _GOAL_LATE_MS = 1.1, 5.0


def _measure_worker(port: int, sessions: int, seconds: float, tell: Callable[[Event], None]) -> Measured:
    timing = Timing(ramp_s=_RAMP_S, spread_s=0.0, warmup_s=WARMUP_S, measure_s=seconds)
    run = run_fleet(Plan(f"ws://127.0.0.1:{port}/ws/stt", sessions, timing), tell)
    summary, _ = summarise(run)
    cpu_us = run.results[0].cpu_measured_s * 1e6
    return Measured(cpu_us / (sessions * seconds), summary["send_lateness_ms"]["p99"], summary["failures_total"])


def _measure_bare(port: int, sessions: int, seconds: float, tell: Callable[[Event], None]) -> Measured:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=bare_loop, args=(theirs, port, sessions, seconds), daemon=True)
    process.start()
    theirs.close()
    while not ours.poll(1.0):
        tell({"event": "progress"})
    measured = ours.recv()
    process.join()
    assert isinstance(measured, Measured)
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.bench", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=10.0, help="measured window of each turn")
    parser.add_argument("--turns", type=int, default=3, help="how often A and B alternate")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error(f"expected two cores, one for the load and one for the sink; this process may use {cores}")
    os.sched_setaffinity(0, {cores[0]})  # what is started from here on inherits it
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sink = context.Process(target=run_sink, args=(theirs, cores[1]), daemon=True)
    sink.start()
    theirs.close()
    pairs: list[tuple[Measured, Measured]] = []
    try:
        port = ours.recv()
        with Progress(console=Console(stderr=True)) as progress:
            for turn in range(1, args.turns + 1):
                results = []
                for name, measure in (("worker", _measure_worker), ("bare loop", _measure_bare)):
                    lasts_s = args.seconds + WARMUP_S + (_RAMP_S if measure is _measure_worker else 0)
                    task = progress.add_task(f"{name} {turn}/{args.turns}", total=lasts_s)
                    results.append(measure(port, args.sessions, args.seconds, _advance(progress, task)))
                    progress.update(task, completed=lasts_s)
                pairs.append((results[0], results[1]))
    finally:
        ours.close()
        sink.join(5)
        sink.terminate()
    _print(pairs, args.sessions, args.seconds)
    return 0


def _advance(progress: Progress, task: TaskID) -> Callable[[Event], None]:
    return lambda event: progress.advance(task, 1 if event["event"] == "progress" else 0)


def _print(pairs: list[tuple[Measured, Measured]], sessions: int, seconds: float) -> None:
    title = f"load generator: {sessions} sessions, {seconds:g} s a turn, CPU in µs per session-second"
    table = Table(title=title)
    for column in ("turn", "worker", "bare loop", "ratio", "worker late p99", "bare late p99", "failures"):
        table.add_column(column, justify="right")
    ratios = [worker.cpu_us_per_session_s / bare.cpu_us_per_session_s for worker, bare in pairs]
    for turn, ((worker, bare), ratio) in enumerate(zip(pairs, ratios, strict=True), 1):
        table.add_row(
            str(turn),
            f"{worker.cpu_us_per_session_s:.0f}",
            f"{bare.cpu_us_per_session_s:.0f}",
            f"{ratio:.2f}",
            _ms(worker.late_p99_ms),
            _ms(bare.late_p99_ms),
            str(worker.failures),
        )
    console = Console()
    console.print(table)
    console.print(
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} … {max(ratios):.2f}); "
        f"limit {_GOAL_RATIO}; send lateness p99 limit {_GOAL_LATE_MS:g} ms"
    )


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
