"""Start an ASGI server with the laboratory's application. Options only; `servers` starts, `app` answers."""

from variants.asgi.servers import SERVERS
from variants.shared.clients import TRANSPORTS
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions


def main() -> None:
    """Serve until a signal ends the process."""
    options = HostOptions.parse(
        loops=("uvloop", "asyncio"),
        transports=TRANSPORTS,
        factors=(
            *("server", "framework", "websocket", "runtime", "runtime_threads", "runtime_blocking_threads"),
            *("task_impl", "receive_delay_us", "collector"),
        ),
    )
    options.to_environment()
    Tallies.create(options.loops).to_environment()
    SERVERS[options.server](options)


if __name__ == "__main__":
    main()
