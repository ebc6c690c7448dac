"""A WebSocket that stops for ever on free-threaded CPython with Granian up to 2.8.0: ASGI application and client.

    python3.14t -m venv venv && venv/bin/pip install granian==2.7.4 && venv/bin/python lost_wakeup.py

Status 1: a connection stalled. 0: none did, in a time in which an affected version stalls with 95 % probability.
3: no verdict; the server did not start, closed a connection, was too slow, or something else broke (2: wrong usage).
The application calls `receive()`, spins for U(0, 80 µs), and then awaits it: the two steps of `await receive()`, a
little further apart, so that more frames arrive just as the callback is registered. `--spin-us 0` leaves it out.
"""

import argparse
import base64
import itertools
import math
import os
import platform
import random
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

SPIN_US = float(os.environ.get("SPIN_US", "80"))
STALLS_PER_FRAME = 38e-6
"""Lower 95 % limit of 11 stalls in 145 000 frames: Granian 2.7.4, CPython 3.14t, spin of up to 80 µs, two cores."""
FRAMES = 10
ACK = b"\x81\x03ack"
FRAME = b"\x82\xfe" + (640).to_bytes(2) + (mask := os.urandom(4)) + bytes(mask[n % 4] for n in range(640))


async def app(_scope: Any, receive: Any, send: Any) -> None:
    """Acknowledge every ten frames."""
    await receive()
    await send({"type": "websocket.accept"})
    for frame in itertools.count(1):
        arriving = receive()
        end = time.perf_counter() + random.uniform(0, SPIN_US) / 1e6
        while time.perf_counter() < end:
            pass
        if (await arriving)["type"] == "websocket.disconnect":
            return
        if frame % FRAMES == 0:
            await send({"type": "websocket.send", "text": "ack"})


def serve(port: int, runtime: str, loop: str) -> None:
    """Run Granian until a signal ends it."""
    from granian import Granian

    options: dict[str, Any] = {
        "interface": "asginl",
        "runtime_mode": runtime,
        "loop": loop,
        "http": "1",
        "log_enabled": False,
    }
    Granian(f"{Path(__file__).stem}:app", address="127.0.0.1", port=port, **options).serve()


class Client(threading.Thread):
    """Sends ten frames, waits for the acknowledgement, again and again, until `stop`.

    `frames`: acknowledged ones. `stalled`: no acknowledgement came within 2 s. `closed`: how the server ended it.
    """

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.frames, self.stalled, self.stop = 0, False, stop
        self.closed: str | None = None
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=2)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        self.socket.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (more := self.socket.recv(1)):
                raise ConnectionError("the server refused the upgrade")
            answer += more

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                for _ in range(FRAMES):
                    self.socket.sendall(FRAME)
                if not self._acknowledged():
                    self.stalled = True
                    self.stop.set()
                    return
        except OSError as error:
            self.closed = str(error)
            self.stop.set()

    def still_silent(self) -> bool:
        """A second later, with nobody else asking anything of the server. False: it answered after all, or closed."""
        self.socket.settimeout(1)
        try:
            return not self._acknowledged()
        except OSError as error:
            self.closed = str(error)
            return False

    def _acknowledged(self) -> bool:
        """Whether the acknowledgement comes in time. Raises ConnectionError for an end, or for anything else."""
        data = b""
        while len(data) < len(ACK):
            try:
                more = self.socket.recv(len(ACK) - len(data))
            except TimeoutError:
                return False
            if not more:
                raise ConnectionError("the server closed the connection")
            data += more
            if not ACK.startswith(data):
                raise ConnectionError(f"expected an acknowledgement, got {data!r}")
        self.frames += FRAMES
        return True


def hunt(port: int, clients: int, limit_s: float | None, hold_s: float) -> int:
    """Run clients until one stalls, or until an affected version would have stalled with 95 % probability."""
    stop = threading.Event()
    crowd = [Client(port, stop) for _ in range(clients)]
    begin = time.monotonic()
    for client in crowd:
        client.start()
    time.sleep(2)  # measures the pace; a stall may come in it already
    per_s = sum(client.frames for client in crowd) / (time.monotonic() - begin)
    enough_s = -math.log(0.05) / (STALLS_PER_FRAME * max(per_s, 1.0))
    print(
        f"{per_s:,.0f} frames/s; an affected version stalls within {enough_s:.0f} s with 95 % probability", flush=True
    )
    stop.wait(max(0.0, (enough_s if limit_s is None else limit_s) - 2))
    elapsed_s = time.monotonic() - begin
    stop.set()
    for client in crowd:
        client.join(5)
    frames = sum(client.frames for client in crowd)
    stalled = [client for client in crowd if client.stalled and client.still_silent()]
    if stalled:
        silence = "ten frames sent, no answer in 3 s, the last of them with an idle server"
        print(f"STALLED after {frames:,} frames, {elapsed_s:.1f} s: {silence}", flush=True)
        time.sleep(hold_s)
        return 1
    if closed := [client.closed for client in crowd if client.closed is not None]:
        print(f"NO VERDICT: {len(closed)} of {clients} connections ended without a stall, the first: {closed[0]}")
        return 3
    print(f"no stall in {frames:,} frames, {elapsed_s:.1f} s")
    chance = -math.expm1(-STALLS_PER_FRAME * frames)
    if limit_s is None and chance < 0.9:
        print(f"NO VERDICT: too few frames; an affected version would have stalled with {chance:.0%} probability only")
        return 3
    return 0


def main() -> int:
    """Start the server in a process of its own, hunt, and end it."""
    statuses = "Status 1: a connection stalled; 0: none did; 3: no verdict; 2: wrong usage."
    about = "Does a WebSocket on this Granian and this CPython stall?"
    parser = argparse.ArgumentParser(description=about, epilog=statuses)
    parser.add_argument("--spin-us", type=float, default=80, help="longest spin; 0: none (default 80)")
    parser.add_argument("--clients", type=int, default=4, choices=range(1, 1000), metavar="N")
    parser.add_argument("--runtime", choices=("mt", "st"), default="mt", help="Granian's runtime mode (default mt)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="uvloop must be installed")
    parser.add_argument("--limit-s", type=float, help="instead of the time computed from the rate")
    parser.add_argument("--hold-s", type=float, default=0, help="keep a stall this long, for a look at the server")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.runtime, arguments.loop)
        return 0
    build = "free-threaded" if sysconfig.get_config_var("Py_GIL_DISABLED") else "GIL"
    cores = len(os.sched_getaffinity(0))
    print(f"Granian {version('granian')}, CPython {platform.python_version()} ({build}), {cores} cores", flush=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    factors = ["--runtime", arguments.runtime, "--loop", arguments.loop]
    command = [sys.executable, Path(__file__).name, "--serve", str(port), *factors]
    environment = {**os.environ, "SPIN_US": str(arguments.spin_us)}
    server = subprocess.Popen(command, cwd=Path(__file__).parent, env=environment, stderr=subprocess.DEVNULL)
    print(f"server process {server.pid}, port {port}", flush=True)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return hunt(port, arguments.clients, arguments.limit_s, arguments.hold_s)
    except OSError as error:
        print(f"NO VERDICT: {error}; server status {server.poll()} (None: it runs)")
        return 3
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # an exception would end with status 1, which says "stalled"
        traceback.print_exc()
        sys.exit(3)
