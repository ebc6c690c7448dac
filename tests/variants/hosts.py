"""Every host as a process of its own, on the build that its row stands for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

import pytest
from websockets.sync.client import connect

from simulator.port import free_port
from tests.interpreters import python_of
from tests.simulator.conftest import ROOT

START = '{"type":"start"}'
HOSTS: dict[str, tuple[str | None, list[str]]] = {
    "drain": (None, ["variants.drain", "--transport", "h1"]),
    "picows": (None, ["variants.picows_loops", "--transport", "h1"]),
    "granian": (None, ["variants.asgi", "--transport", "h1"]),
    "granian-workers": (None, ["variants.asgi", "--transport", "h1", "--loops", "2"]),
    "granian-bare": (None, ["variants.asgi", "--transport", "h1", "--framework", "none"]),
    "uvicorn": (None, ["variants.asgi", "--transport", "h1", "--server", "uvicorn"]),
    "hypercorn": (None, ["variants.asgi", "--transport", "h1", "--server", "hypercorn"]),
    "picows-paused": (None, ["variants.picows_loops", "--transport", "h1", "--reading", "ticks"]),
    "aiohttp": (None, ["variants.aiohttp_server", "--transport", "h1"]),
    "websockets": (None, ["variants.websockets_server", "--transport", "h1"]),
    "thread-per-session": (None, ["variants.thread_per_session"]),
    "thread-per-session-sync": (None, ["variants.thread_per_session", "--websocket", "websockets-sync"]),
    "drain-threads": ("drain", ["variants.drain", "--transport", "h1", "--loops", "2"]),
    "threads": ("picows", ["variants.picows_loops", "--transport", "h1", "--loops", "2"]),
    "mt": ("granian", ["variants.asgi", "--transport", "h1", "--runtime", "mt", "--loops", "2"]),
}
"""The environment on 3.14t, or None for the tests' own; the module and its options."""
STOCK = ("granian", "granian-workers", "granian-bare", "uvicorn", "hypercorn", "mt")
"""Those of a server that ends, and refuses, in its own way."""
SELDOM = ("granian-bare", "hypercorn", "picows-paused", "thread-per-session-sync")
"""Near another one that is tested each time: under `make test-all` alone."""
EACH_TIME_OR_SLOW = [pytest.param(name, marks=pytest.mark.slow) if name in SELDOM else name for name in HOSTS]
OURS = [name for name in HOSTS if name not in STOCK]


@contextmanager
def running(name: str, inference_port: int, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A host, once it serves, and its port. It and its workers are ended with the block, if they have not."""
    environment, module = HOSTS[name]
    with serving(environment, [*module, *options], inference_port) as served:
        yield served


@contextmanager
def serving(
    environment: str | None, module: Sequence[str], inference_port: int, log: IO[str] | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The same of any module that takes a host's options; its standard error goes to `log`."""
    python = sys.executable if environment is None else str(python_of(environment, "3.14t"))
    port = free_port()
    command = [python, "-m", module[0], "--port", str(port), "--inference-url", f"http://127.0.0.1:{inference_port}"]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen([*command, *module[1:]], cwd=ROOT, stderr=log, start_new_session=True)
        )
        stack.callback(_end_group, process.pid)  # a worker of Granian's is a process of its own
        _wait_listening(process, port)
        yield process, port


def _wait_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(400):
        assert process.poll() is None, "expected the host to serve, it ended"
        try:
            with connect(f"ws://127.0.0.1:{port}/ws/stt", open_timeout=2):
                return
        except (OSError, TimeoutError):
            time.sleep(0.05)
    raise AssertionError("expected the host to listen within 20 s")


def _end_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
