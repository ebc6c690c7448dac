"""Command line of the simulator: `python -m simulator --port 9000`.

It is one process. SIGTERM and SIGINT keep their default action and end it at once, as SIGKILL does: it has no child,
and holds nothing that would have to be saved.
"""

import asyncio
import signal
import sys
from typing import Annotated

import typer

from simulator.port import PortTaken, free_port
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
    except (PortTaken, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        raise typer.Exit(2) from None

    def say_listening() -> None:
        print(f"simulator listening on http://{settings.host}:{settings.port}", flush=True)

    asyncio.run(serve(settings, say_listening))


if __name__ == "__main__":
    app()
