"""Granian, started as its users start it, whichever of its interfaces the application has."""

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, TaskImpl

from variants.shared.options import BACKLOG, HostOptions

FACTORS = ("runtime", "runtime_threads", "runtime_blocking_threads", "task_impl")
"""Its own."""
_MOST_CONNECTIONS = 65_536
"""Granian holds back requests past `backpressure` per worker, and an open WebSocket is a request to it. Its default
(the backlog, 1024) would be a ceiling of its own."""


def serve_granian(options: HostOptions, app: str, interface: str) -> None:
    """A worker is one event loop: a thread of this process on a free-threaded build, a spawned child on a GIL build
    (then stop the whole cgroup, not this process alone). `app`: "module:factory"."""
    Granian(
        app,
        factory=True,
        address=options.host,
        port=options.port,
        interface=Interfaces(interface),
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
