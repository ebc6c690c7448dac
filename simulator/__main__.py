"""Command line of the simulator: `python -m simulator --port 9000`.

SIGTERM and SIGINT keep their default action and end it at once, as SIGKILL does: it holds nothing that would have to be
saved, and its other processes, where it has any, end when it does.
"""

import asyncio
import os
import signal
import sys
from typing import Annotated

import typer

from simulator.port import PortTaken, free_port
from simulator.processes import ChildDied, serve_processes
from simulator.server import ServerSettings, serve
from simulator.service_time import ServiceTimeSettings

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one and prints it")],
    host: str = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="of the service times' draws")] = 1,
    batch_wait_max_ms: Annotated[float, typer.Option(help="upper end of the uniform part")] = 20.0,
    model_delay_ms: Annotated[float, typer.Option(help="median of the log-normal part")] = 75.0,
    sigma: Annotated[float, typer.Option(help="of the log-normal part")] = 0.15,
    slow_probability: Annotated[float, typer.Option(help="of a log-normal part multiplied by slow-factor")] = 0.01,
    slow_factor: float = 3.0,
    max_concurrent: Annotated[int, typer.Option(help="requests served at once; later ones queue")] = 65_536,
    processes: Annotated[int, typer.Option(min=1, help="they share the port, and connections go to them in turn")] = 1,
    cpus: Annotated[str, typer.Option(help="one for each process, with commas; else any")] = "",
    control: Annotated[bool, typer.Option("--control", help="serve /control/ (scripted behaviours)")] = False,
) -> None:
    """The inference stand-in: POST /infer, GET /health, GET /stats over HTTP/1.1 and h2c on one port."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        settings = ServerSettings(
            port=free_port(host, port),
            host=host,
            seed=seed,
            max_concurrent=max_concurrent,
            control=control,
            service_time=ServiceTimeSettings(
                batch_wait_max_ms=batch_wait_max_ms,
                model_delay_ms=model_delay_ms,
                sigma=sigma,
                slow_probability=slow_probability,
                slow_factor=slow_factor,
            ),
        )
        pinned = [int(cpu) for cpu in cpus.split(",") if cpu]
        if pinned and len(pinned) != processes:
            raise ValueError(f"cpus: expected one for each of {processes} processes, got {cpus!r}")
        if control and processes > 1:
            raise ValueError("scripted behaviours are kept by one process: expected --processes 1 with --control")
    except (PortTaken, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        raise typer.Exit(2) from None

    def say_listening() -> None:
        print(f"simulator listening on http://{settings.host}:{settings.port}", flush=True)

    if processes > 1:
        try:
            serve_processes(settings, processes, pinned, say_listening)
        except ChildDied as error:
            print(f"simulator: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
    else:
        if pinned:
            os.sched_setaffinity(0, pinned)
        asyncio.run(serve(settings, say_listening))


if __name__ == "__main__":
    app()
