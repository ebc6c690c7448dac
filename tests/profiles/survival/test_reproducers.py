"""The reproducers of what servers' libraries break run on their own, and tell one that does from one that does not."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import get_args

import pytest

from experiment.ask.studies import CellServer
from experiment.setup import CHECKOUT
from profiles.cliff.reproducer.lost_wakeup import Client
from simulator.port import free_port

SERVERS = CHECKOUT / "profiles" / "cliff" / "reproducer"
HOSTILE = CHECKOUT / "profiles" / "survival" / "reproducer" / "hostile_client.py"
EVERY = [server for server in get_args(CellServer) if server != "granian"]


@contextmanager
def served(server: str) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "other_servers.py", server, "--port", str(port), "--runtime", "st"]
    with subprocess.Popen(command, cwd=SERVERS, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            for _ in range(200):
                try:
                    client = Client(port, Event())
                except OSError:
                    time.sleep(0.05)
                    continue
                client.socket.close()
                break
            yield port
        finally:
            process.terminate()


@pytest.mark.parametrize("server", EVERY)
def test_every_server_acknowledges_ten_frames(server: str) -> None:
    with served(server) as port:
        client = Client(port, stop := Event())
        client.start()
        time.sleep(0.5)
        stop.set()
        client.join(5)
        client.socket.close()
    assert client.frames >= 10
    assert client.closed is None
    assert not client.stalled


@pytest.mark.parametrize(("server", "unended"), [("websockets", []), ("aiohttp", ["an unmasked frame"])])
def test_what_breaks_the_protocol_is_ended_or_named(server: str, unended: list[str]) -> None:
    with served(server) as port:
        done = subprocess.run([sys.executable, str(HOSTILE), str(port), "violations"], capture_output=True, timeout=60)
    assert json.loads(done.stdout)["not_ended"] == unended
    assert done.returncode == bool(unended)
