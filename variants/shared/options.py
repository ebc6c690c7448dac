"""The options that every variant takes on its command line. Reading them only."""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from gateway import Admission

BACKLOG = 4096
"""Connections that the kernel holds for a listening socket until somebody comes to accept them."""
MOST_BYTES = 65_536
"""A longer message closes with 1009 (PROTOCOL, "framing")."""
CLOSE_LIMIT_S = 1.0
"""How long a client may take to answer our close."""
_ENVIRONMENT_KEY = "GATEWAY_LAB_HOST_OPTIONS"

FACTORS: dict[str, dict[str, Any]] = {
    "server": {"choices": ("granian", "uvicorn", "hypercorn"), "help": "the ASGI server (default %(default)s)"},
    "framework": {"choices": ("fastapi", "none"), "help": "what the application is written in (default %(default)s)"},
    "websocket": {
        "choices": ("websockets-sansio", "websockets-sync", "wsproto"),
        "help": "the WebSocket implementation, where a host has several (default %(default)s)",
    },
    "runtime": {"choices": ("st", "mt"), "help": "Granian's runtime mode (default %(default)s)"},
    "runtime_threads": {"type": int, "help": "Granian's own threads for each event loop (default %(default)s)"},
    "runtime_blocking_threads": {
        "type": int,
        "help": "at most so many of Granian's threads for blocking work (default: its own choice)",
    },
    "task_impl": {"choices": ("asyncio", "rust"), "help": "Granian's task implementation (default %(default)s)"},
    "receive_delay_us": {
        "type": float,
        "help": "spin for U(0, this) between calling receive() and awaiting it (default %(default)s: off)",
    },
    "collector": {
        "choices": ("raised", "frozen", "off"),
        "help": "how the garbage collector is set (default: as it is)",
    },
    "most_sessions": {"type": int, "help": "let in no more WebSockets than this at once (default: no limit)"},
    "most_inferences": {
        "type": int,
        "help": "let nobody in while as many requests are in flight (default: no limit)",
    },
    "reading": {
        "choices": ("always", "ticks"),
        "help": "when a session's socket is read (default %(default)s); ticks: shortly before each, and for a look",
    },
    "look_interval_ms": {"type": float, "help": "how often a socket is looked at between ticks (default %(default)s)"},
}
"""Options that only some hosts have, or (`_ADMISSION`) that all hosts have and that are factors of a row."""
_ADMISSION = ("most_sessions", "most_inferences")


@dataclass(frozen=True)
class HostOptions:
    """One gateway process, as the runner (or a person) asked for it."""

    port: int
    inference_url: str
    loop: str = "asyncio"
    loops: int = 1
    """Event loops: threads on a free-threaded build, processes on a GIL build."""
    transport: str = "h2"
    inference_connections: int = 2
    """Connections to the inference server that each event loop holds."""
    flush_phase_jitter_ms: float = 1000.0
    host: str = "127.0.0.1"
    expect: str | None = None
    """The interpreter that the row was promised ("3.14.7t"); None where nobody promised one."""
    server: str = "granian"
    framework: str = "fastapi"
    websocket: str = "websockets-sansio"
    runtime: str = "st"
    runtime_threads: int = 1
    runtime_blocking_threads: int | None = None
    task_impl: str = "asyncio"
    receive_delay_us: float = 0.0
    collector: str | None = None
    reading: str = "always"
    look_interval_ms: float = 900.0
    most_sessions: int | None = None
    most_inferences: int | None = None
    """Both of the whole gateway; each event loop has an equal share, since they share nothing."""

    @classmethod
    def parse(
        cls,
        argv: list[str] | None = None,
        *,
        loops: tuple[str, ...],
        transports: tuple[str, ...],
        factors: tuple[str, ...] = (),
    ) -> Self:
        """Read a variant's command line; a mistake ends the process with status 2 and says what is known.

        Args:
            loops: event loops that the host runs on, the default first.
            transports: to the inference server, the default first.
            factors: which of `FACTORS` the host has; another one is a mistake.
        """
        parser = argparse.ArgumentParser(
            description="One gateway of the laboratory, as `python -m experiment` starts it."
        )
        parser.add_argument("--port", type=int, required=True, help="where clients connect")
        parser.add_argument("--host", default=cls.host, help="address to listen on (default %(default)s)")
        parser.add_argument("--inference-url", required=True, help="http://HOST:PORT of the inference server")
        parser.add_argument("--loop", choices=loops, default=loops[0], help="event loop (default %(default)s)")
        parser.add_argument("--loops", type=int, default=cls.loops, metavar="N", help="how many (default %(default)s)")
        parser.add_argument("--transport", choices=transports, default=transports[0], help="to the inference server")
        parser.add_argument("--inference-connections", type=int, default=cls.inference_connections, metavar="N")
        parser.add_argument("--flush-phase-jitter-ms", type=float, default=cls.flush_phase_jitter_ms, metavar="MS")
        parser.add_argument("--expect", metavar="VERSION", help='refuse to run on another interpreter than "3.14.7t"')
        for name in (*factors, *_ADMISSION):
            flag, default = f"--{name.replace('_', '-')}", getattr(cls, name)
            parser.add_argument(flag, default=default, **FACTORS[name])
        options = cls(**vars(parser.parse_args(argv)))
        try:
            options.inference_address  # noqa: B018 - the property checks the address
        except ValueError as error:
            parser.error(str(error))
        return options

    @property
    def inference_address(self) -> tuple[str, int]:
        """Host and port of the inference server; ValueError if the URL is no http URL with a port."""
        parts = urlsplit(self.inference_url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"--inference-url: expected http://HOST:PORT, got {self.inference_url!r}")
        return parts.hostname, parts.port

    @property
    def admission(self) -> Admission:
        """Whom each event loop lets in."""

        def share(most: int | None) -> int | None:
            return None if most is None else max(1, round(most / self.loops))

        return Admission(share(self.most_sessions), share(self.most_inferences))

    def to_environment(self) -> None:
        """Leave the options for the workers that this process is about to spawn."""
        os.environ[_ENVIRONMENT_KEY] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Self:
        """Read in a worker what its parent left."""
        return cls(**json.loads(os.environ[_ENVIRONMENT_KEY]))
