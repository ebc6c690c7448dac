"""Drives the simulator alone and prints what it costs and where it ends: `python -m simulator.bench`.

Starts and judges processes; what a client sends is `simulator.bench_client`'s business. A fresh server for each point.
"""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulator.port import free_port
from simulator.service_time import ServiceTimeModel, ServiceTimeSettings

ROOT = Path(__file__).parents[1]
HOST = "127.0.0.1"
PROTOCOLS = ("h2c", "http/1.1")
OVERSHOOT_LIMIT_MS = 10.0
LATENESS_LIMIT_MS = 10.0
START_S = 3.0


@dataclass(frozen=True, slots=True)
class Point:
    """One protocol at one offered rate."""

    protocol: str
    offered_rate: float
    answered_rate: float | None
    failed: int
    cpu_us_per_request: float | None
    overshoot_p50_ms: float | None
    overshoot_p99_ms: float | None
    unseen_mean_ms: float | None
    """What the client waited longer than drawn and overshot: the part that the simulator cannot see."""
    lateness_p99_ms: float

    @property
    def client_ended(self) -> bool:
        """Whether the client fell behind its own schedule, so that the server did not get the rate."""
        return self.lateness_p99_ms > LATENESS_LIMIT_MS

    @property
    def overshot(self) -> bool:
        return self.overshoot_p99_ms is None or self.overshoot_p99_ms > OVERSHOOT_LIMIT_MS


@contextmanager
def _process(core: int | None, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python module in a process of its own, on `core`, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with status {process.wait()} before it said anything")
    return line


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _stats(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/stats")
        stats: dict[str, Any] = json.load(connection.getresponse())
    finally:
        connection.close()
    return stats


def measure(protocol: str, rate: float, seconds: float, cores: tuple[int | None, int | None]) -> Point:
    """Offer `rate` requests a second for `seconds` to a fresh server; `cores` are the server's and the client's."""
    server_core, client_core = cores
    port = free_port(HOST, 0)
    client_arguments = ("simulator.bench_client", HOST, str(port), protocol, str(rate), str(seconds))
    with (
        _process(server_core, "simulator", "--host", HOST, "--port", str(port)) as server,
        _process(client_core, *client_arguments) as client,
    ):
        _line(server)
        _tell(client, "open")
        _line(client)
        before = psutil.Process(server.pid).cpu_times()
        _tell(client, "go")
        report = json.loads(_line(client))
        after = psutil.Process(server.pid).cpu_times()
        stats = _stats(port)
    cpu_s = after.user + after.system - before.user - before.system
    return Point(
        protocol=protocol,
        offered_rate=rate,
        answered_rate=report["answered_rate"],
        failed=report["sent"] - report["answered"],
        cpu_us_per_request=cpu_s / stats["answered"] * 1e6 if stats["answered"] else None,
        overshoot_p50_ms=stats["overshoot_ms"]["p50"],
        overshoot_p99_ms=stats["overshoot_ms"]["p99"],
        unseen_mean_ms=_unseen_mean_ms(report["latency_mean_ms"], stats),
        lateness_p99_ms=report["lateness_p99_ms"],
    )


def _unseen_mean_ms(latency_mean_ms: float | None, stats: dict[str, Any]) -> float | None:
    """The clients' mean latency less the mean of what was drawn (the same seed draws it again) and of the overshoot."""
    if latency_mean_ms is None:
        return None
    settings = stats["settings"]
    model = ServiceTimeModel(ServiceTimeSettings(**settings["service_time"]), settings["seed"])
    drawn_ms = sum(model.draw_s() for _ in range(stats["answered"])) / stats["answered"] * 1000
    overshoot_ms = HdrHistogram.decode(stats["overshoot_hdr"]).get_mean_value() / 1000
    return float(latency_mean_ms - drawn_ms - overshoot_ms)


def conclusion(points: list[Point]) -> str:
    """Where one protocol's overshoot p99 passes 10 ms, or why that was not seen. `points` in rising order of rate."""
    if not points:
        return "nothing measured"
    *_, last = points
    if last.client_ended:
        return (
            f"the client ended first at {last.offered_rate:g} req/s (its send lateness p99 "
            f"{last.lateness_p99_ms:.1f} ms); overshoot p99 there {_ms(last.overshoot_p99_ms)} ms"
        )
    if not last.overshot:
        p99 = _ms(last.overshoot_p99_ms)
        return f"overshoot p99 still {p99} ms at {last.offered_rate:g} req/s, the highest rate tried"
    where = f"between {points[-2].offered_rate:g} and" if len(points) > 1 else "below"
    return f"overshoot p99 passes {OVERSHOOT_LIMIT_MS:g} ms {where} {last.offered_rate:g} req/s"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _table(points: list[Point]) -> Table:
    table = Table(title="simulator alone, bodies of 50 frames (32 000 bytes), 4 passes; times in ms")
    headings = (
        "offer\n/s",
        "answer\n/s",
        "failed",
        "CPU µs\n/req",
        "over\np50",
        "over\np99",
        "unseen\nmean",
        "late\np99",
    )
    table.add_column("protocol", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for point in points:
        table.add_row(
            point.protocol,
            f"{point.offered_rate:g}",
            "–" if point.answered_rate is None else f"{point.answered_rate:.0f}",
            str(point.failed),
            "–" if point.cpu_us_per_request is None else f"{point.cpu_us_per_request:.0f}",
            _ms(point.overshoot_p50_ms),
            _ms(point.overshoot_p99_ms),
            _ms(point.unseen_mean_ms),
            _ms(point.lateness_p99_ms),
        )
    return table


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="offered at each rate")] = 3.0,
    rates: Annotated[
        str, typer.Option(help="rising requests per second, with commas")
    ] = "500,1000,2000,3000,4000,5000",
) -> None:
    """Rising open-loop rates over both protocols, until the overshoot's p99 passes 10 ms or the client ends first."""
    console = Console()
    try:
        ladder = sorted({float(rate) for rate in rates.split(",")})
    except ValueError:
        raise typer.BadParameter(f"expected numbers with commas between them, got {rates!r}") from None
    if ladder[0] <= 0:
        raise typer.BadParameter(f"expected rates above 0, got {ladder[0]:g}")
    available = sorted(os.sched_getaffinity(0))
    cores = (available[0], available[1]) if len(available) > 1 else (None, None)
    placed = (
        f"server on core {cores[0]}, client on core {cores[1]}" if cores[0] is not None else "one core shared by both"
    )
    console.print(f"{placed}; {seconds:g} s a point")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    points: dict[str, list[Point]] = {protocol: [] for protocol in PROTOCOLS}
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("bench", total=len(PROTOCOLS) * len(ladder))
        for protocol in PROTOCOLS:
            for index, rate in enumerate(ladder):
                progress.update(task, description=f"{protocol} {rate:g}/s (at most {seconds + START_S:g} s)")
                point = measure(protocol, rate, seconds, cores)
                points[protocol].append(point)
                if point.overshot or point.client_ended:
                    progress.advance(task, len(ladder) - index)
                    break
                progress.advance(task)
    console.print(
        "over: overshoot of the drawn service time; unseen: what the client waited beyond that, in the kernel "
        "and in itself; late: the client's own send lateness",
        soft_wrap=True,
    )
    console.print(_table([point for rows in points.values() for point in rows]))
    for protocol, rows in points.items():
        console.print(f"{protocol}: {conclusion(rows)}", soft_wrap=True)


if __name__ == "__main__":
    app()
