"""The other end of the bench: drains any number of sockets on a core of its own, in its own process.

A connection that begins with an HTTP request is upgraded and gets one correct partial a second; any other is only
drained. Not a gateway: it trusts its client's framing, so it counts bytes instead of parsing frames.
"""

import base64
import hashlib
import json
import os
import select
import socket
import time
from multiprocessing.connection import Connection as Pipe

from loadgen.connection import START_MESSAGE
from loadgen.frames import FRAME_BYTES, FRAME_SAMPLES, PERIOD, WIRE_BYTES, audio_at, offset_of
from loadgen.messages import CPU_PASSES
from loadgen.worker import raise_descriptor_limit
from simulator.stub import predict

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_START_BYTES = 6 + len(START_MESSAGE)
_CLOSE_BYTES = 8  # header, mask, status code
_CLOSE_REPLY = b"\x88\x02\x03\xe8"
_BUFFER_BYTES = 1 << 18
_WHEEL_STEP_S = 0.001  # short, since sessions start when the handshake comes back: they must not start in step
_WHEEL_STEPS = 250
_VISITS_PER_ANSWER = 4  # 250 steps of 1 ms, 4 times: one answer a second


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.upgraded = False
        self.session: int | None = None
        self.received_bytes = 0  # after the upgrade request
        self.answered_frames = 0
        self.visits = 0


class Sink:
    """Takes what comes on a listening socket that does not block."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._buffer = bytearray(_BUFFER_BYTES)
        self._answers: dict[tuple[int, int], bytes] = {}
        self._unknown: dict[int, _Client] = {}  # by descriptor: nothing has come yet
        self._wheel: list[list[_Client]] = [[] for _ in range(_WHEEL_STEPS)]
        self._epoll = select.epoll()
        self._placed = 0
        self._step = 0
        self._epoll.register(listener.fileno(), select.EPOLLIN)

    def serve(self, parent: Pipe) -> None:
        """A step each millisecond, until the parent closes its end."""
        due = time.monotonic()
        while not parent.poll(0):
            due += _WHEEL_STEP_S
            self.step()
            time.sleep(max(0.0, due - time.monotonic()))

    def step(self) -> None:
        """Take whoever connects, and visit those whose turn it is."""
        for fd, _ in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            else:
                self._meet(self._unknown.pop(fd))
        spoke = self._wheel[self._step % _WHEEL_STEPS]
        spoke[:] = [client for client in spoke if self._visit(client)]
        self._step += 1

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._unknown[sock.fileno()] = _Client(sock)
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _meet(self, client: _Client) -> None:
        """The client's first bytes: an upgrade request, or frames at once."""
        self._epoll.unregister(client.sock.fileno())
        data = client.sock.recv(WIRE_BYTES)
        if data.startswith(b"GET "):
            headers = dict(line.split(b": ", 1) for line in data.split(b"\r\n")[1:] if b": " in line)
            digest = hashlib.sha1(headers[b"Sec-WebSocket-Key"] + _GUID).digest()
            client.sock.send(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            client.upgraded = True
        self._wheel[self._placed % _WHEEL_STEPS].append(client)
        self._placed += 1

    def _visit(self, client: _Client) -> bool:
        """Drain, answer once a second; False once the client is gone."""
        nameless = client.upgraded and client.session is None
        try:
            count = client.sock.recv_into(self._buffer, 0, socket.MSG_PEEK if nameless else 0)
        except BlockingIOError:
            count = -1
        except OSError:
            count = 0
        if count == 0:
            client.sock.close()
            return False
        if not client.upgraded:
            return True
        count = max(0, count)
        if nameless:
            if count >= _START_BYTES + WIRE_BYTES:
                client.session = self._session_of(memoryview(self._buffer)[_START_BYTES:])
            return True
        client.received_bytes += count
        frames, rest = divmod(client.received_bytes - _START_BYTES, WIRE_BYTES)
        closing = count > 0 and rest == _CLOSE_BYTES and self._buffer[count - _CLOSE_BYTES] == 0x88
        client.visits += 1
        if client.visits % _VISITS_PER_ANSWER == 0 or closing:
            self._answer(client, frames)
        if closing:
            client.sock.send(_CLOSE_REPLY)
            client.sock.close()
        return not closing

    def _session_of(self, frame: memoryview) -> int:
        """Read back from the first sample of a session's first frame which session it is."""
        low, high = frame[8] ^ frame[4], frame[9] ^ frame[5]
        sample = int.from_bytes((low, high), "little", signed=True)
        return ((sample + 10000) * pow(17, -1, PERIOD) - FRAME_SAMPLES) % PERIOD

    def _answer(self, client: _Client, newest: int) -> None:
        oldest = client.answered_frames + 1
        if client.session is None or newest < oldest:
            return
        key = (offset_of(client.session, oldest), newest - oldest + 1)
        numbers = self._answers.get(key)
        if numbers is None:
            prediction = predict(audio_at(*key), CPU_PASSES)
            numbers = self._answers[key] = prediction.to_json()[1:]
        rest = {
            "type": "partial",
            "oldest_frame_seq": oldest,
            "newest_frame_seq": newest,
            "frames": key[1],
            "cpu_passes": CPU_PASSES,
            "model_delay_ms": 75,
            "flush_lateness_ms": 0.25,
            "inflight_model_jobs": 0,
        }
        text = json.dumps(rest).encode()[:-1] + b"," + numbers
        client.sock.send(b"\x81\x7e" + len(text).to_bytes(2, "big") + text)
        client.answered_frames = newest


def run_sink(parent: Pipe, core: int) -> None:
    """The sink process: pins itself to `core`, sends its port over `parent`, serves until that is closed."""
    os.sched_setaffinity(0, {core})
    raise_descriptor_limit()
    predict(bytes(FRAME_BYTES), CPU_PASSES)  # compiled before the clock runs
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.setblocking(False)
        parent.send(listener.getsockname()[1])
        Sink(listener).serve(parent)
