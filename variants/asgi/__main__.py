"""Start an ASGI server with the stock application. Options only; the work is in `app.py`."""

from collections.abc import Callable

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, TaskImpl

from variants.shared.clients import TRANSPORTS
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

_MOST_CONNECTIONS = 65_536
"""Granian holds back requests past `backpressure` per worker, and an open WebSocket is a request to it. Its default
(the backlog, 1024) would be a ceiling of its own."""


def main() -> None:
    """Serve until a signal ends the process."""
    options = HostOptions.parse(
        loops=("uvloop", "asyncio"),
        transports=TRANSPORTS,
        factors=(
            *("server", "runtime", "runtime_threads", "runtime_blocking_threads", "task_impl"),
            *("receive_delay_us", "collector"),
        ),
    )
    options.to_environment()
    Tallies.create(options.loops).to_environment()
    SERVERS[options.server](options)


def granian(options: HostOptions) -> None:
    """A worker is one event loop: a thread of this process on a free-threaded build, a spawned child on a GIL build
    (then stop the whole cgroup, not this process alone)."""
    Granian(
        "variants.asgi.app:create_app",
        factory=True,
        address=options.host,
        port=options.port,
        interface=Interfaces.ASGI,
        workers=options.loops,
        runtime_mode=RuntimeModes(options.runtime),
        runtime_threads=options.runtime_threads,
        runtime_blocking_threads=options.runtime_blocking_threads,
        task_impl=TaskImpl(options.task_impl),
        loop=Loops(options.loop),
        http=HTTPModes.http1,
        backlog=4096,
        backpressure=_MOST_CONNECTIONS,
    ).serve()


SERVERS: dict[str, Callable[[HostOptions], None]] = {"granian": granian}
"""Each by the factor `server`."""


if __name__ == "__main__":
    main()
