"""Real simulators in processes of their own, and one small client for each protocol to talk to them."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_h1(port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


class H2Client:
    """One h2c connection with prior knowledge, blocking; streams may be open side by side."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._h2 = H2Connection()
        self._h2.initiate_connection()
        self._flush()
        self._status: dict[int, int] = {}
        self._body: dict[int, bytes] = {}
        self._ended: list[int] = []
        self._settled = False
        while not self._settled:
            self._receive()

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def start(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        stream = self._h2.get_next_available_stream_id()
        pseudo = {":method": method, ":path": path, ":scheme": "http", ":authority": "simulator"}
        self._h2.send_headers(stream, list({**pseudo, **(headers or {})}.items()))
        while body:
            size = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if size <= 0:
                self._receive()
                continue
            self._h2.send_data(stream, body[:size])
            body = body[size:]
            self._flush()
        self._h2.end_stream(stream)
        self._flush()
        return stream

    def cancel(self, stream: int) -> None:
        self._h2.reset_stream(stream, error_code=8)
        self._flush()

    def last_bytes(self, count: int) -> bytes:
        """The last so many bytes that come on the socket, once nothing more does for a while."""
        self._socket.settimeout(0.5)
        got = b""
        with suppress(TimeoutError):
            while data := self._socket.recv(65_536):
                got = (got + data)[-count:]
        return got

    def next_answer(self) -> tuple[int, Answer]:
        """The next stream that ends, and its answer; ConnectionError where the connection or the stream is reset."""
        while not self._ended:
            self._receive()
        stream = self._ended.pop(0)
        return stream, Answer(self._status[stream], self._body.get(stream, b""))

    def _receive(self) -> None:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionResetError("closed without an answer")
        for event in self._h2.receive_data(data):
            match event:
                case RemoteSettingsChanged():
                    self._settled = True
                case ResponseReceived(stream_id=stream, headers=headers):
                    self._status[stream] = int(dict(headers)[b":status"])
                case DataReceived(stream_id=stream, data=part):
                    self._body[stream] = self._body.get(stream, b"") + part
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                case StreamEnded(stream_id=stream):
                    self._ended.append(stream)
                case StreamReset(stream_id=stream):
                    raise ConnectionResetError(f"stream {stream} was reset")
        self._flush()


def request_h2(port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    client = H2Client(port)
    try:
        client.start(method, path, body, headers)
        return client.next_answer()[1]
    finally:
        client.close()


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A simulator on a free port, its process and the port; killed at the end."""
    command = [sys.executable, "-m", "simulator", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("simulator listening on http://127.0.0.1:"), line
            yield process, int(line.rpartition(":")[2])
        finally:
            process.kill()


@pytest.fixture
def simulator() -> Iterator[Callable[..., int]]:
    """Starts a simulator with the given options and returns its port."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(started(*options))[1]


@pytest.fixture(scope="module")
def fast() -> Iterator[int]:
    """The port of a simulator that answers at once and takes behaviours; a module's tests share its counters."""
    with started("--control", "--model-delay-ms", "0", "--batch-wait-max-ms", "0") as (_, port):
        yield port
