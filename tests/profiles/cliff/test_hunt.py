"""The hunt at a real socket: a server that acknowledges, one that falls silent once, one that hangs up."""

import base64
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from profiles.cliff.hunt import FORENSICS_EACH, Life, ServerGone, hunt
from profiles.cliff.reproducer.lost_wakeup import FRAME, FRAMES

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACK = b"\x81\x03ack"


@contextmanager
def server(
    falls_silent_at: int | None = None,
    ends_at: int | None = None,
    way: str = "",
    and_takes_no_more: bool = False,
    all_silent: int = 1,
) -> Iterator[int]:
    """A port. The first connections (`all_silent`) fall silent after so many bursts; the first ends, or is late, in a
    `way`; others are well."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    serving: list[threading.Thread] = []

    def serve(connection: socket.socket, number: int) -> None:
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
                    if number == 1 and bursts == ends_at:
                        if and_takes_no_more:
                            stop_accepting()
                        if not end(connection):
                            return
                    if number > all_silent or falls_silent_at is None or bursts < falls_silent_at:
                        connection.sendall(_ACK)

    def end(connection: socket.socket) -> bool:
        """End it; False: nothing more is to be sent."""
        if way in ("late", "silent, then FIN", "silent, then RST"):
            time.sleep(2.3)
        if way in ("RST", "silent, then RST"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way == "close frame":
            connection.sendall(b"\x88\x02\x03\xe8")
        elif way != "late":
            connection.close() if "RST" in way else connection.shutdown(socket.SHUT_RDWR)
        return way == "late"

    def stop_accepting() -> None:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listener.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            serving.append(threading.Thread(target=serve, args=(connection, len(connections)), daemon=True))
            serving[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        if listener.fileno() >= 0:
            stop_accepting()
        for connection in connections:
            with suppress(OSError):  # its client has gone already
                connection.shutdown(socket.SHUT_RDWR)
        for thread in serving:
            thread.join()  # so that no socket is closed under the thread that reads it
        for connection in connections:
            connection.close()


def _look() -> list[dict[str, Any]]:
    return [{"kind": "lost wake-up", "what": "Task-1"}]


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


@pytest.mark.parametrize("way", ["FIN", "RST", "close frame", "silent, then FIN", "silent, then RST"])
def test_a_connection_that_the_server_ends_is_no_stall_and_its_frames_count(way: str) -> None:
    with server(ends_at=3, way=way) as port:
        turn = hunt(port, 1, 4.0 if "silent" in way else 1.0, _look, lambda *_: None)
    assert (turn.stalls, turn.recovered, len(turn.closed), turn.gone) == (0, 0, 1, None)
    assert turn.lives[0] == Life(2 * FRAMES, False)
    assert turn.lives[-1].frames > 0  # the one after it


def test_a_late_acknowledgement_is_exposure_and_no_stall() -> None:
    with server(ends_at=3, way="late") as port:
        turn = hunt(port, 1, 4.0, _look, lambda *_: None)
    assert (turn.stalls, turn.recovered, turn.closed) == (0, 1, [])
    assert turn.lives[0] == Life(3 * FRAMES, False)


def test_a_server_that_takes_no_more_ends_the_turn_and_keeps_what_was_seen() -> None:
    with server(ends_at=3, way="FIN", and_takes_no_more=True) as port:
        turn = hunt(port, 1, 30.0, _look, lambda *_: None)
    assert turn.seconds < 20
    assert turn.gone is not None
    assert "no connection" in turn.gone
    assert turn.frames == 2 * FRAMES


def test_a_task_that_stays_stuck_is_a_finding_of_one_look_only() -> None:
    stuck = [{"kind": "lost wake-up", "what": "Task-1"}, {"kind": "lost wake-up", "what": "Task-2"}]
    looks = iter([stuck[:1], stuck])
    with server(falls_silent_at=1, all_silent=2) as port:
        turn = hunt(port, 1, 7.0, lambda: next(looks), lambda *_: None)
    assert turn.findings == [stuck[:1], stuck[1:]]


def test_nobody_at_the_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ServerGone, match="no connection"):
        hunt(port, 1, 0.5, _look, lambda *_: None)
