"""The worker processes of a run: start them, give them one t0, hear their progress, and put their results together.

No socket to a gateway and no arithmetic on latencies belongs here; what happens is told through a callback.
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from loadgen.percentiles import nearest_rank
from loadgen.samples import Table, merge
from loadgen.worker import Plan, Progress, Worker, WorkerResult

Event = dict[str, Any]

_START_LEAD_S = 0.1
_READY, _PROGRESS, _RAN, _RESULT, _CRASHED = "ready", "progress", "ran", "result", "crashed"


class WorkerDied(Exception):
    """A worker ended without a result: says which, and how."""


@dataclass(slots=True)
class Run:
    """A run's results over all workers. `samples` are in order of arrival."""

    plan: Plan
    began_at_s: float  # t0 as seconds since the epoch
    ended_s: float  # since t0
    samples: Table
    results: list[WorkerResult]


def run_fleet(plan: Plan, tell: Callable[[Event], None]) -> Run:
    """Run `plan` over its workers. `tell` gets each phase and, once a second, the progress.

    Raises WorkerDied when a worker crashes. However it ends, no worker is left running.
    """
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    processes: list[BaseProcess] = []
    try:
        for number in range(plan.workers):
            ours, theirs = context.Pipe()
            pipes.append(ours)
            process: BaseProcess = context.Process(target=_work, args=(plan, number, theirs), daemon=True)
            process.start()
            processes.append(process)
            theirs.close()
        return _Conductor(plan, pipes, processes, tell).conduct()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        for pipe in pipes:
            pipe.close()


def _work(plan: Plan, number: int, pipe: Pipe) -> None:
    """A worker process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        if plan.cpus:
            os.sched_setaffinity(0, {plan.cpus[number]})
        worker = Worker(plan, number)
        pipe.send((_READY, None))
        t0 = pipe.recv()
        # With the parent gone, this send fails and so ends the run within a second.
        result = worker.run(t0, lambda progress: pipe.send((_PROGRESS, progress)))
        pipe.send((_RAN, None))
        worker.verify(result)
        pipe.send((_RESULT, result))
    except (BrokenPipeError, EOFError):
        return
    except BaseException:
        pipe.send((_CRASHED, traceback.format_exc()))


class _Conductor:
    """The parent's side: one loop over the pipes and the phases' moments."""

    def __init__(
        self, plan: Plan, pipes: list[Pipe], processes: list[BaseProcess], tell: Callable[[Event], None]
    ) -> None:
        self._plan = plan
        self._pipes = pipes
        self._processes = processes
        self._tell = tell
        self._running = set(range(plan.workers))
        self._results: dict[int, WorkerResult] = {}
        self._latest: dict[int, Progress] = {}
        self._fresh: dict[int, list[Progress]] = {}

    def conduct(self) -> Run:
        for number in range(self._plan.workers):
            self._receive(number, _READY)
        t0 = time.monotonic() + _START_LEAD_S
        began_at_s = time.time() + _START_LEAD_S
        for pipe in self._pipes:
            pipe.send(t0)
        phases = self._plan.timing.phases()
        ended_s = self._plan.timing.end_s
        while len(self._results) < self._plan.workers:
            timeout_s = max(0.0, t0 + phases[0][1] - time.monotonic()) if phases else None
            waiting = {pipe: number for number, pipe in enumerate(self._pipes) if number not in self._results}
            ready = wait(list(waiting), timeout_s)
            for number in (number for pipe, number in waiting.items() if pipe in ready):
                kind, value = self._receive(number)
                if kind == _PROGRESS:
                    self._on_progress(number, value)
                elif kind == _RAN:
                    self._running.discard(number)
                    if not self._running:
                        ended_s = time.monotonic() - t0
                        phases = self._tell_phases(t0, phases, until_s=ended_s)
                        self._tell_phase("verify")
                elif kind == _RESULT:
                    self._results[number] = value
            phases = self._tell_phases(t0, phases, until_s=time.monotonic() - t0)
        results = [self._results[number] for number in range(self._plan.workers)]
        return Run(self._plan, began_at_s, ended_s, merge(result.samples for result in results), results)

    def _receive(self, number: int, wanted: str | None = None) -> tuple[str, Any]:
        try:
            kind, value = self._pipes[number].recv()
        except (EOFError, ConnectionResetError):
            process = self._processes[number]
            process.join(1)
            raise WorkerDied(f"worker {number}: expected a result, got end of pipe (exit {process.exitcode})") from None
        if kind == _CRASHED:
            raise WorkerDied(f"worker {number} crashed:\n{value}")
        if wanted is not None and kind != wanted:
            raise WorkerDied(f"worker {number}: expected {wanted!r}, got {kind!r}")
        return kind, value

    def _tell_phases(self, t0: float, phases: list[tuple[str, float]], until_s: float) -> list[tuple[str, float]]:
        while phases and phases[0][1] <= until_s:
            name, at_s = phases[0]
            self._tell({"event": "phase", "phase": name, "monotonic_s": t0 + at_s})
            phases = phases[1:]
        return phases

    def _tell_phase(self, name: str) -> None:
        self._tell({"event": "phase", "phase": name, "monotonic_s": time.monotonic()})

    def _on_progress(self, number: int, progress: Progress) -> None:
        """Tell once a second: when every worker still running has reported again."""
        self._latest[number] = progress
        self._fresh.setdefault(number, []).append(progress)
        if not self._running <= self._fresh.keys():
            return
        fresh = [report for reports in self._fresh.values() for report in reports]
        self._fresh.clear()
        latest = self._latest.values()
        newest_ms = np.concatenate([report.newest_ms for report in fresh])
        p50_ms, p95_ms = (nearest_rank(newest_ms, p) if len(newest_ms) else None for p in (50, 95))
        self._tell(
            {
                "event": "progress",
                "elapsed_s": round(progress.elapsed_s, 3),
                "total_s": self._plan.timing.end_s,
                "open": sum(report.open for report in latest),
                "partials": sum(report.partials for report in latest),
                "errors": sum(report.errors for report in latest),
                "failures": sum(report.failures for report in latest),
                "newest_p50_ms": None if p50_ms is None else round(p50_ms, 3),
                "newest_p95_ms": None if p95_ms is None else round(p95_ms, 3),
                "late_ms": round(max(report.late_ms for report in fresh), 3),
                "still": sum(report.still for report in latest),
            }
        )
