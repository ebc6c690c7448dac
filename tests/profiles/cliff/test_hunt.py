"""The hunt at a real socket: a server that acknowledges, one that falls silent once, one that hangs up."""

import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from profiles.cliff.hunt import FORENSICS_EACH, ServerGone, hunt
from profiles.cliff.reproducer.lost_wakeup import FRAME, FRAMES

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACK = b"\x81\x03ack"


@contextmanager
def server(falls_silent_at: int | None = None, hangs_up_at: int | None = None) -> Iterator[int]:
    """A port. The first connection falls silent, or hangs up, after so many bursts; later ones are well."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    serving: list[threading.Thread] = []

    def serve(connection: socket.socket, first: bool) -> None:
        request = connection.recv(4096)
        key = next(line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: "))
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        bursts = held = 0
        with suppress(ConnectionError):  # the client has left, or the test is over
            while data := connection.recv(65536):
                held += len(data)
                while held >= FRAMES * len(FRAME):
                    held -= FRAMES * len(FRAME)
                    bursts += 1
                    if first and bursts == hangs_up_at:
                        connection.shutdown(socket.SHUT_RDWR)
                        return
                    if not (first and falls_silent_at is not None and bursts >= falls_silent_at):
                        connection.sendall(_ACK)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            serving.append(threading.Thread(target=serve, args=(connection, len(connections) == 1), daemon=True))
            serving[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()
        for connection in connections:
            with suppress(OSError):  # its client has gone already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in serving:
            thread.join()  # so that no socket is closed under the thread that reads it
        for connection in connections:
            connection.close()


def _look() -> list[dict[str, Any]]:
    return [{"kind": "lost wake-up"}]


def test_a_stall_is_counted_once_and_the_hunt_goes_on() -> None:
    told: list[tuple[int, int]] = []
    with server(falls_silent_at=3) as port:
        turn = hunt(port, 2, 4.5, _look, lambda frames, stalls: told.append((frames, stalls)))
    assert turn.stalls == 1
    assert turn.findings == [_look()]
    assert len(turn.findings) <= FORENSICS_EACH
    (stalled,) = [life for life in turn.lives if life.stalled]
    assert stalled.frames == 2 * FRAMES
    assert len(turn.lives) == 3  # the one that stalled, the one after it, and the other
    assert turn.frames == sum(life.frames for life in turn.lives) > 100
    assert told[-1][1] == 1


def test_no_stall_gives_exposure_only() -> None:
    with server() as port:
        turn = hunt(port, 2, 0.5, _look, lambda *_: None)
    assert (turn.stalls, turn.findings, len(turn.lives)) == (0, [], 2)
    assert turn.frames > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the hunt gives up and leaves its sockets
def test_a_server_that_hangs_up_is_no_stall() -> None:
    with server(hangs_up_at=2) as port, pytest.raises(ServerGone, match="ended after 10 frames without a stall"):
        hunt(port, 1, 3, _look, lambda *_: None)


def test_nobody_at_the_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ServerGone, match="no connection"):
        hunt(port, 1, 0.5, _look, lambda *_: None)
