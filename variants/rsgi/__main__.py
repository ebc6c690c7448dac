"""Start Granian with the application of `app.py`. Options only."""

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, TaskImpl

from variants.shared.clients import TRANSPORTS
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions

BACKLOG = 4096
_MOST_CONNECTIONS = 65_536
"""An open WebSocket is a request to Granian, which holds back those past `backpressure`: by default its backlog."""


def main() -> None:
    """Serve until a signal ends the process. A worker is a thread on a free-threaded build, a child on a GIL build."""
    options = HostOptions.parse(
        loops=("uvloop", "asyncio"),
        transports=TRANSPORTS,
        factors=("runtime", "runtime_threads", "runtime_blocking_threads", "task_impl", "collector"),
    )
    options.to_environment()
    Tallies.create(options.loops).to_environment()
    Granian(
        "variants.rsgi.app:create_app",
        factory=True,
        address=options.host,
        port=options.port,
        interface=Interfaces.RSGI,
        workers=options.loops,
        runtime_mode=RuntimeModes(options.runtime),
        runtime_threads=options.runtime_threads,
        runtime_blocking_threads=options.runtime_blocking_threads,
        task_impl=TaskImpl(options.task_impl),
        loop=Loops(options.loop),
        http=HTTPModes.http1,
        backlog=BACKLOG,
        backpressure=_MOST_CONNECTIONS,
    ).serve()


if __name__ == "__main__":
    main()
