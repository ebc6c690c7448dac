"""Takes two looks at a gateway that may have stalled, and says what they mean: `python -m profiles forensics`.

It reads /proc, asks the gateway's loops by `inject`, and pokes its port so that a sleeping loop comes by.
"""

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from experiment.host import role_environment
from profiles.forensics.findings import Look, classify, parse_tcp, thread_look
from profiles.profilers.inject import inject
from profiles.profilers.remote_sampler import state_of

_HERE = Path(__file__).parent
SAMPLER = _HERE.parent / "profilers" / "remote_sampler.py"
BETWEEN_S = 0.5
ANSWER_S = 2.0
POKES = 8
"""Connections made to the port while waiting: with several loops, each gets some."""


def capture(pids: list[int], port: int) -> dict[str, Any]:
    """Evidence and findings, ready for JSON. Takes about 0.5 s, up to 5 s where a loop does not answer.

    Raises:
        CannotInject: one of the processes is no CPython 3.14, or not ours to ask.
    """
    stacks = {pid: thread_stacks(pid) for pid in pids}
    loops = {thread for found in stacks.values() for thread in found.get("loops", ())}
    first = take_look(pids, port, loops)
    time.sleep(BETWEEN_S)
    # A loop that is not asyncio's own shows itself by its first answer only.
    second = take_look(pids, port, loops | {look.thread for look in first.threads})
    findings = classify(first, second)
    return {
        "findings": [asdict(finding) for finding in findings],
        "thread_stacks": {str(pid): found.get("stacks", found) for pid, found in stacks.items()},
        "looks": [asdict(first), asdict(second)],
    }


def listening_port(pids: list[int]) -> int:
    """The lowest port that one of the processes listens on. Raises LookupError where there is none."""
    ports = [
        connection.laddr.port
        for pid in pids
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    if not ports:
        raise LookupError(f"none of the processes {', '.join(map(str, pids))} listens on a port")
    return min(ports)


def take_look(pids: list[int], port: int, loops: set[int]) -> Look:
    """One look: what every loop says of its tasks, and every connection's queues. `loops`: threads that must answer."""
    with tempfile.TemporaryDirectory(prefix="forensics-") as folder:
        place = Path(folder)
        script = place / "probe.py"
        text = (_HERE / "probe.py").read_text(encoding="utf-8")
        script.write_text(f"FOLDER = {folder!r}\n{text}", encoding="utf-8")
        sockets = [look for name in ("tcp", "tcp6") for look in parse_tcp(_net(pids[0], name), port)]
        asked_s = time.monotonic()
        asked = {thread: pid for pid in pids for thread in inject(pid, script)}
        expected = loops & asked.keys()
        said = _wait(place, expected, port)
        threads = [
            thread_look(thread, state_of(asked[thread], thread), asked_s, said.get(thread))
            for thread in sorted(expected | said.keys())
        ]
    return Look(tuple(threads), tuple(sockets))


def _wait(place: Path, loops: set[int], port: int) -> Mapping[int, dict[str, Any]]:
    """Answers by thread, once all of `loops` have given one or the time is up; the whole time where none is known."""
    said: dict[int, dict[str, Any]] = {}
    end_s = time.monotonic() + ANSWER_S
    pokes: list[socket.socket] = []
    try:
        while time.monotonic() < end_s:
            for file in place.glob("*.json"):
                said.setdefault(int(file.stem), json.loads(file.read_text(encoding="utf-8")))
            if loops and loops <= said.keys():
                break
            if len(pokes) < POKES and (poke := _poke(port)) is not None:
                pokes.append(poke)
            time.sleep(0.02)
    finally:
        for poke in pokes:
            poke.close()
    return said


def _poke(port: int) -> socket.socket | None:
    """Ask for the gateway's health, and do not wait for the answer."""
    with suppress(OSError):
        connection = socket.create_connection(("127.0.0.1", port), timeout=0.2)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n")
        return connection
    return None


def thread_stacks(pid: int) -> dict[str, Any]:
    """`stacks`: every thread's Python stack, innermost first. `loops`: threads that have tasks. Read by the process's
    own interpreter build, also where its file was replaced meanwhile; `unreadable` says why it could not."""
    link = f"/proc/{pid}/exe"
    try:
        named, deleted, _ = os.readlink(link).partition(" (deleted)")
        # The link leads to the program that runs, and by its name it finds its library.
        command = [named, str(SAMPLER), str(pid), "0", "-"]
        environment = role_environment().variables
        done = subprocess.run(
            command, executable=link, capture_output=True, text=True, timeout=20, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"unreadable": [str(error)]}
    if done.returncode:
        replaced = [f"{named} was deleted or replaced since it was started"] if deleted else []
        return {"unreadable": [*replaced, *done.stderr.strip().splitlines()[-1:]]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _net(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/net/{name}").read_text()
    except OSError:
        return ""
