"""The host as a real process: options, threads, kernel buffers, a burst of connections, descriptors of the vanished."""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, WebSocketException
from websockets.sync.client import ClientConnection, connect

from gateway import FRAME_BYTES
from tests.conformance.wire import frame
from tests.interpreters import kernel_knows_thread_names
from tests.variants.inference import inference_server
from variants.drain.loop import HANDSHAKE_LIMIT_S, listen
from variants.shared.build import gil_enabled
from variants.shared.options import HostOptions

CHECKOUT = Path(__file__).parents[3]
START = '{"type":"start"}'
BURST = 300
MAIN = "import sys\nfrom variants.drain.__main__ import main\nsys.exit(main())"
MISTAKE_OF_A_CLIENT = """
from gateway import Session
frames = Session.frames
def broken(self, data, now_s):
    if data[0] == 13:
        raise RuntimeError("a mistake of ours")
    return frames(self, data, now_s)
Session.frames = broken
"""
MISTAKE_OF_THE_LOOP = """
from variants.drain.timers import Timers
def broken(self, now_s):
    raise RuntimeError("a mistake of ours")
Timers.take_due = broken
"""


def start(
    *options: str, inference_port: int = 9, mistake: str = "", stderr: IO[bytes] | None = None
) -> tuple[subprocess.Popen[bytes], int]:
    """A running host and its port; `mistake` is Python that runs before it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", f"{mistake}\n{MAIN}", "--port", str(port)]
    command += ["--inference-url", f"http://127.0.0.1:{inference_port}", "--flush-phase-jitter-ms", "1", *options]
    process = subprocess.Popen(command, cwd=CHECKOUT, stderr=stderr)
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError("expected the host to listen within 10 s")


@pytest.fixture(scope="module")
def inference_port() -> Iterator[int]:
    with inference_server() as server:
        yield server.port


@pytest.fixture(scope="module")
def host(inference_port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process, port = start(inference_port=inference_port)
    yield process, port
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


@contextmanager
def open_session(port: int) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{port}/ws/stt", compression=None, ping_interval=None) as client:
        client.send(START)
        yield client


def test_health_is_json_and_other_paths_are_not_found(host: tuple[subprocess.Popen[bytes], int]) -> None:
    for path, status in (("/health", 200), ("/nowhere", 404), ("/ws/stt", 426)):
        client = http.client.HTTPConnection("127.0.0.1", host[1], timeout=2)
        client.request("GET", path)
        response = client.getresponse()
        body = response.read()
        assert response.status == status
        if path == "/health":
            assert json.loads(body) == {"ok": True}
        client.close()


def test_audio_comes_back_as_a_partial_of_the_tick(host: tuple[subprocess.Popen[bytes], int]) -> None:
    with open_session(host[1]) as client:
        for _ in range(3):
            client.send(b"\x07" * FRAME_BYTES)
        partial = json.loads(client.recv(timeout=3))
        assert (partial["type"], partial["newest_frame_seq"], partial["checksum"]) == ("partial", 3, 7)
        assert partial["flush_lateness_ms"] < 100  # the machine's; the grain itself is 5 ms


@kernel_knows_thread_names
def test_each_loop_is_a_thread_with_its_number(host: tuple[subprocess.Popen[bytes], int]) -> None:
    names = {path.read_text().strip() for path in Path(f"/proc/{host[0].pid}/task").glob("*/comm")}
    assert "loop-0" in names


def test_three_seconds_of_audio_never_block_the_sender(host: tuple[subprocess.Popen[bytes], int]) -> None:
    with open_session(host[1]) as client:
        sock = client.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that the room is the receiver's
        time.sleep(0.2)
        host[0].send_signal(signal.SIGSTOP)
        try:
            sock.settimeout(2)
            for seq in range(150):
                sock.sendall(frame(2, bytes([seq]) * FRAME_BYTES))
        finally:
            host[0].send_signal(signal.SIGCONT)
        sock.settimeout(None)
        covered = 0
        while covered < 150:
            message = json.loads(client.recv(timeout=3))
            assert message["oldest_frame_seq"] == covered + 1
            covered = message["newest_frame_seq"]


def test_a_backlog_larger_than_any_buffer_is_taken_whole(host: tuple[subprocess.Popen[bytes], int]) -> None:
    with open_session(host[1]) as client:
        client.socket.sendall(b"".join(frame(2, bytes(FRAME_BYTES)) for _ in range(1400)))
        covered = 0
        while covered < 1400:
            message = json.loads(client.recv(timeout=3))
            assert (message["type"], message["oldest_frame_seq"]) == ("partial", covered + 1)
            covered = message["newest_frame_seq"]


def test_a_burst_of_connections_all_get_in_and_their_descriptors_are_freed(
    host: tuple[subprocess.Popen[bytes], int],
) -> None:
    descriptors = Path(f"/proc/{host[0].pid}/fd")
    before = len(os.listdir(descriptors))
    request = (
        b"GET /ws/stt HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
    socks = [socket.create_connection(("127.0.0.1", host[1])) for _ in range(BURST)]
    for sock in socks:
        sock.sendall(request + frame(1, START.encode()) + frame(2, bytes(FRAME_BYTES)))
    for sock in socks:
        sock.settimeout(5)
        answer = sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
    assert len(os.listdir(descriptors)) >= before + BURST
    for number, sock in enumerate(socks):
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    deadline_s = time.monotonic() + 5
    while len(os.listdir(descriptors)) > before + 20:  # what is left are connections to the inference server
        assert time.monotonic() < deadline_s, "expected the descriptors of vanished clients to be freed within 5 s"
        time.sleep(0.05)


def test_a_connection_that_never_asks_for_anything_is_dropped(host: tuple[subprocess.Popen[bytes], int]) -> None:
    with socket.create_connection(("127.0.0.1", host[1])) as silent, open_session(host[1]) as client:
        silent.sendall(b"GET /ws/stt HTTP/1.1\r\n")
        silent.settimeout(HANDSHAKE_LIMIT_S + 2)
        begin_s = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - begin_s > HANDSHAKE_LIMIT_S - 1
        client.ping().wait(2)  # a session that has begun lives on


def test_a_client_that_still_sends_sees_the_close_frame_of_a_violation(
    host: tuple[subprocess.Popen[bytes], int],
) -> None:
    with open_session(host[1]) as client:
        sock = client.socket
        for _ in range(20):
            sock.sendall(frame(2, bytes(FRAME_BYTES)) + frame(2, bytes(FRAME_BYTES), reserved=1))
            time.sleep(0.05)
            if client.close_code is not None:
                break
        with pytest.raises(Exception, match="1002"):
            client.recv(timeout=2)


VIOLATIONS = {
    "text": frame(1, b"{}"),
    "a short frame": frame(2, bytes(FRAME_BYTES - 2)),
    "a long frame": frame(2, bytes(FRAME_BYTES + 2)),
    "bad UTF-8": frame(1, b"\xff\xfe"),
    "a reserved bit": frame(2, bytes(FRAME_BYTES), reserved=1),
    "an unknown opcode": frame(3, b""),
}
CLOSING = frame(8, (1000).to_bytes(2, "big"))


@pytest.mark.parametrize("then", [CLOSING, CLOSING * 2, frame(9, b"ping") + CLOSING, frame(2, bytes(FRAME_BYTES))])
def test_a_violation_and_what_follows_it_in_one_segment_costs_nobody_else(
    host: tuple[subprocess.Popen[bytes], int], then: bytes
) -> None:
    with open_session(host[1]) as innocent:
        for what, violation in VIOLATIONS.items():
            with open_session(host[1]) as client:
                client.socket.sendall(frame(2, bytes(FRAME_BYTES)) + violation + then)
                with pytest.raises(ConnectionClosed):
                    any(client.recv(timeout=3) is None for _ in range(10))
                assert client.protocol.close_rcvd is not None, what
                assert client.protocol.close_rcvd.code in (1002, 1003, 1007, 1008), what
        innocent.send(bytes(FRAME_BYTES))
        assert json.loads(innocent.recv(timeout=3))["type"] == "partial"


def test_an_exception_nobody_expected_ends_its_client_and_is_printed(inference_port: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process, port = start(inference_port=inference_port, mistake=MISTAKE_OF_A_CLIENT, stderr=stderr)
        try:
            with open_session(port) as innocent, open_session(port) as client:
                client.send(b"\x0d" * FRAME_BYTES)
                with pytest.raises(ConnectionClosedError, match="1011"):
                    client.recv(timeout=3)
                innocent.send(bytes(FRAME_BYTES))
                assert json.loads(innocent.recv(timeout=3))["type"] == "partial"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
    said = log.read_text()
    assert said.count("RuntimeError: a mistake of ours") == 1
    assert "1 so far" in said


def test_a_mistake_in_the_loop_itself_ends_the_process_with_its_traceback() -> None:
    command = [sys.executable, "-c", MISTAKE_OF_THE_LOOP + MAIN, "--port", "0", "--inference-url", "http://127.0.0.1:9"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "RuntimeError: a mistake of ours" in done.stderr


@pytest.mark.parametrize("transport", ["h1", "h2"])
def test_out_of_descriptors_it_refuses_whoever_comes_and_recovers(inference_port: int, transport: str) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    process, port = start("--transport", transport, inference_port=inference_port)
    try:
        resource.prlimit(
            process.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{process.pid}/fd")) + 8, limit[1])
        )
        socks = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(30)]
        refused = 0
        for sock in socks:
            sock.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                try:
                    refused += sock.recv(1) == b""
                except ConnectionResetError:
                    refused += 1
        assert 15 <= refused < 30
        for sock in socks:
            sock.close()
        deadline_s = time.monotonic() + 10
        while True:
            try:
                with open_session(port) as client:
                    client.send(bytes(FRAME_BYTES))
                    assert json.loads(client.recv(timeout=3))["type"] in ("partial", "error")
                    break
            except (OSError, WebSocketException, EOFError):
                assert time.monotonic() < deadline_s
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


@pytest.mark.skipif(not gil_enabled(), reason="several loops are what a free-threaded build is for")
def test_it_listens_on_the_first_address_that_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [(9999, ("::1", 0)), (socket.AF_INET, ("192.0.2.1", 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with listen(HostOptions(0, "http://127.0.0.1:9", host="localhost")) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        found[:] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", held.getsockname()), found[-1]]
        with pytest.raises(OSError, match="in use"):  # somebody else's is not passed by
            listen(HostOptions(0, "http://127.0.0.1:9", host="localhost"))


def test_a_gil_build_refuses_more_than_one_loop() -> None:
    command = [sys.executable, "-m", "variants.drain", "--port", "1", "--inference-url", "http://127.0.0.1:1"]
    done = subprocess.run([*command, "--loops", "2"], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--loops 1" in done.stderr
