"""The inference server of a run: the simulator as a child process, its scripted behaviours and its request log."""

import http.client
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import Process

from tests.conformance.audio import Audio
from tests.conformance.expect import Skipped

START_LIMIT_S = 20.0
_CHECKOUT = Path(__file__).parents[2]


class CannotServe(RuntimeError):
    """The inference server did not come up."""


@dataclass(frozen=True)
class Request:
    """One request as the inference server saw it; times are time.monotonic() in ms."""

    arrived_ms: float
    answered_ms: float | None
    body_bytes: int
    body_sha256: str
    cpu_passes: str | None


@dataclass(frozen=True)
class RequestLog:
    """Every request with one session's audio, in order of arrival."""

    requests: list[Request]
    max_concurrent: int


async def http_json(
    host: str, port: int, method: str, path: str, body: object = None, *, limit_s: float = 5
) -> tuple[int, Any]:
    """One exchange: status, and the answer's JSON (None where it is none). OSError or HTTPException where none came."""

    def exchange() -> tuple[int, Any]:
        connection = http.client.HTTPConnection(host, port, timeout=limit_s)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, None

    return await anyio.to_thread.run_sync(exchange)


class Inference:
    """The simulator on one port. Rules script it by their audio, so that they do not see each other.

    `pid` is of one that runs there already, and that others need, too.
    """

    def __init__(self, port: int, pid: int | None = None) -> None:
        self.port = port
        self._others_pid = pid
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers. CannotServe with its own words where it does not."""
        if self._others_pid is not None:
            await self._control("GET", "requests/")
            return
        command = [sys.executable, "-m", "simulator", "--port", str(self.port), "--control"]
        with tempfile.TemporaryFile() as complaints:
            self._process = await anyio.open_process(
                command, stdin=None, stdout=complaints, stderr=complaints, cwd=_CHECKOUT
            )
            deadline_s = time.monotonic() + START_LIMIT_S
            while not await self._answers():
                if self._process.returncode is not None or time.monotonic() > deadline_s:
                    complaints.seek(0)
                    said = complaints.read().decode(errors="replace").strip()
                    raise CannotServe(f"the inference server did not start on port {self.port}: {said or 'no word'}")
                await anyio.sleep(0.05)

    async def _answers(self) -> bool:
        """Whether our own process answers: where another listens, ours has ended with an error."""
        try:
            status, _ = await http_json("127.0.0.1", self.port, "GET", "/health", limit_s=0.5)
        except (OSError, http.client.HTTPException):
            return False
        assert self._process is not None
        await anyio.lowlevel.checkpoint()  # lets the event loop notice its end
        return status == 200 and self._process.returncode is None

    async def kill(self) -> None:
        """Kill it as `kill -9` does, and wait until it is gone."""
        if self._others_pid is not None:
            raise Skipped("the inference server is not this suite's to kill")
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    def stand_still(self) -> None:
        """Stop its process: the kernel still takes connections and bytes for it, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on with what has come meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._others_pid is not None:
            os.kill(self._others_pid, number)
        else:
            assert self._process is not None
            self._process.send_signal(number)

    async def behave(self, audio: Audio, **behaviour: object) -> None:
        """From now on answer batches of this audio so: the keys of `simulator.control.Behaviour`."""
        await self._control("PUT", f"behaviours/{audio.marker}", behaviour)

    async def behave_normally(self, audio: Audio) -> None:
        await self._control("DELETE", f"behaviours/{audio.marker}")

    async def log(self, marker: str) -> RequestLog:
        """The requests whose body begins with `marker` (hex; "" for empty bodies)."""
        found = await self._control("GET", f"requests/{marker}")
        keys = Request.__dataclass_fields__.keys()
        requests = [Request(**{key: record[key] for key in keys}) for record in found["requests"]]
        return RequestLog(requests, found["max_concurrent"])

    async def _control(self, method: str, path: str, body: object = None) -> Any:
        status, answer = await http_json("127.0.0.1", self.port, method, f"/control/{path}", body)
        if status != 200:
            raise CannotServe(f"{method} /control/{path} on port {self.port}: expected 200, got {status}: {answer}")
        return answer


@asynccontextmanager
async def serve_inference(port: int, pid: int | None = None) -> AsyncIterator[Inference]:
    """A running inference server, killed with the block; one that ran already (`pid`) runs on."""
    inference = Inference(port, pid)
    try:
        await inference.start()
        yield inference
    finally:
        with anyio.CancelScope(shield=True):
            if pid is None:
                await inference.kill()
