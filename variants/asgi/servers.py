"""The ASGI servers, each started as its users start it. An environment holds the packages of one: imports are late.

What is set beside their defaults: a backlog for a burst of connections, no limit on them below that, messages of 64 KiB
at most (the contract's), and no keepalive pings, which the contract does not ask clients to answer.
"""

from collections.abc import Callable

from variants.shared.options import BACKLOG, MOST_BYTES, HostOptions

APP = "variants.asgi.app:create_app"
_LEAVE_S = 4
"""How long a server waits for its connections when it ends."""


def granian(options: HostOptions) -> None:
    """A worker for each event loop: threads on a free-threaded build, spawned children on a GIL build."""
    from variants.shared.granian_server import serve_granian

    serve_granian(options, APP, "asgi")


def uvicorn(options: HostOptions) -> None:
    """One event loop in this process; several are as many spawned children, on any build."""
    import uvicorn

    uvicorn.run(
        APP,
        factory=True,
        host=options.host,
        port=options.port,
        loop=options.loop,
        http="httptools",
        ws=options.websocket,
        workers=options.loops,
        lifespan="on",
        backlog=BACKLOG,
        ws_max_size=MOST_BYTES,
        ws_ping_interval=None,
        timeout_graceful_shutdown=_LEAVE_S,
        log_level="warning",
    )


def hypercorn(options: HostOptions) -> None:
    """One event loop in this process; several are as many spawned children, on any build."""
    from hypercorn.config import Config
    from hypercorn.run import run

    config = Config()
    config.application_path = f"{APP}()"
    config.bind = [f"[{options.host}]:{options.port}" if ":" in options.host else f"{options.host}:{options.port}"]
    config.worker_class = options.loop
    config.workers = options.loops if options.loops > 1 else 0
    config.backlog = BACKLOG
    config.websocket_max_message_size = MOST_BYTES
    config.graceful_timeout = _LEAVE_S
    config.loglevel = "WARNING"
    run(config)


SERVERS: dict[str, Callable[[HostOptions], None]] = {"granian": granian, "uvicorn": uvicorn, "hypercorn": hypercorn}
"""Each by the factor `server`."""
