"""One role's process: started in its group, watched, and stopped so that its group ends empty and removed.
What to start and when to give up is the runner's business.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import anyio
import anyio.to_thread

from experiment.host.environment import RoleEnvironment, role_environment
from experiment.host.limits import RoleGroup
from experiment.host.procfs import ProcessId, read_stat

POLL_S = 0.02
TAIL_BYTES = 8192
TAIL_LINES = 20


@dataclass(frozen=True)
class Command:
    """`env` comes on top of the environment that every role gets; `log` gets stderr, and stdout unless it is piped.
    `stop` is a shell command that asks it to end, `{pid}` being its process; None for SIGTERM."""

    argv: Sequence[str]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    pipe_stdout: bool = False
    stop: str | None = None


@dataclass(frozen=True)
class Exit:
    """How a main process ended: `status`, or the name of the `signal` that ended it; one of them is None."""

    role: str
    status: int | None
    signal: str | None
    oom_kills: int | None
    log: Path
    tail: str

    @property
    def how(self) -> str:
        """In one line."""
        how = f"was ended by {self.signal}" if self.signal else f"ended with status {self.status}"
        oom = f", its memory limit was hit ({self.oom_kills} OOM kills)" if self.oom_kills else ""
        return f"{self.role} {how}{oom}"

    def __str__(self) -> str:
        tail = "\n".join(f"  | {line}" for line in self.tail.splitlines()) or "  | (nothing)"
        return f"{self.how}; the last lines of {self.log.name}:\n{tail}"


class Role:
    """Starts on construction; `stop` (or leaving `async with`) ends the whole group, whatever happened before.

    Raises OSError when the log or the working directory is not there; a command that is not found ends with
    status 127 and says so in its log.
    """

    def __init__(self, command: Command, group: RoleGroup, environment: RoleEnvironment | None = None) -> None:
        self.group = group
        self.argv = tuple(command.argv)
        self.log = command.log
        self._stop_command = command.stop
        self._read_fd: int | None = None
        self._reading = self._stopped = False
        self._oom_kills: int | None = None
        write_fd: int | None = None
        passed_on = (environment or role_environment()).variables
        self._environment = {**passed_on, **command.env, **group.environment}
        try:
            if command.pipe_stdout:
                self._read_fd, write_fd = os.pipe()
                os.set_blocking(self._read_fd, False)
            with command.log.open("ab") as log:
                self._process = subprocess.Popen(
                    group.launcher(command.argv),
                    cwd=command.cwd,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log if write_fd is None else write_fd,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C at the terminal reaches the runner alone, which then stops us
                )
        except BaseException:
            self._close_pipe()
            raise
        finally:
            if write_fd is not None:
                os.close(write_fd)
        group.started(self._process.pid)
        stat = read_stat(self._process.pid)  # a zombie at worst: it is ours to reap
        self.id = ProcessId(self._process.pid, stat.start_ticks if stat else 0)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exited(self) -> Exit | None:
        """None while the main process runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._note_oom()
        status, name = (code, None) if code >= 0 else (None, _signal_name(-code))
        return Exit(self.group.role, status, name, self._oom_kills, self.log, self.log_tail())

    async def wait(self) -> Exit:
        """Until the main process ends. Several tasks may wait."""
        while (exit_ := self.exited()) is None:  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(POLL_S)
        return exit_

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    async def lines(self) -> AsyncIterator[str]:
        """Lines of the piped stdout, until all writers closed it. One reader at a time."""
        if self._read_fd is None:
            raise RuntimeError(f"{self.group.role}: stdout is not piped; start it with Command(pipe_stdout=True)")
        self._reading = True
        buffer = b""
        try:
            while True:
                try:
                    chunk = os.read(self._read_fd, 65536)
                except BlockingIOError:
                    await anyio.wait_readable(self._read_fd)
                    continue
                if not chunk:
                    break
                *whole, buffer = (buffer + chunk).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
            if buffer:
                yield buffer.decode(errors="replace")
        finally:
            self._reading = False
            if self._stopped:
                self._close_pipe()

    async def stop(self, grace_s: float = 5.0) -> Exit:
        """SIGTERM to the main process (or the command's `stop`), up to `grace_s` for all its group to end, SIGKILL to
        what is left, group removed. Not interrupted by cancellation; may be called again.

        Raises GroupStuck when a process survives SIGKILL.
        """
        with anyio.CancelScope(shield=True):
            if self._process.poll() is None:
                await self._ask_to_end(grace_s)
            for _ in range(math.ceil(grace_s / POLL_S)):
                if self._process.poll() is not None and not self.group.pids():
                    break
                await anyio.sleep(POLL_S)
            self._end_main()
            try:
                await anyio.to_thread.run_sync(self.group.kill)
            finally:
                self._clear()
        return self._ended()

    async def _ask_to_end(self, limit_s: float) -> None:
        if self._stop_command is None:
            self._process.terminate()
            return
        command = self._stop_command.replace("{pid}", str(self.pid))
        with anyio.move_on_after(limit_s), self.log.open("ab") as log:
            shell = ["/bin/sh", "-c", command]
            await anyio.run_process(shell, check=False, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> Exit:
        """The same without grace and without an event loop, for the very last resort."""
        self._end_main()
        try:
            self.group.kill()
        finally:
            self._clear()
        return self._ended()

    async def __aenter__(self) -> Role:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _ended(self) -> Exit:
        exit_ = self.exited()
        if exit_ is None:
            raise AssertionError(f"{self.group.role}: its group is empty, yet process {self.pid} runs")
        return exit_

    def _note_oom(self) -> None:
        """The group's count is gone once the group is."""
        self._oom_kills = self.group.usage().oom_kills if self._oom_kills is None else self._oom_kills

    def _end_main(self) -> None:
        """Before the group is emptied, or a launcher that has yet to enter it would do so behind our back."""
        self._note_oom()
        if self._process.poll() is None:
            self._process.kill()

    def _clear(self) -> None:
        """A reader of the pipe comes to its end by itself and closes it."""
        self._process.wait()
        self._stopped = True
        if not self._reading:
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._read_fd is not None:
            os.close(self._read_fd)
            self._read_fd = None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
