"""Run another program with a time limit, and leave none of its children behind.

Knows nothing of what is run.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Report = Callable[[str], None]

# What an outer make passes down would override variables of another Makefile, and an active environment would
# pass for the machine's own Python. A safe path lacks the checkout, which is where everything is run from.
_FOREIGN = (
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONHOME",
    "PYTHONSAFEPATH",
    "UV_PYTHON",
)


@dataclass(frozen=True)
class Finished:
    """What a program did. `status` is None where it ran out of time and was killed."""

    status: int | None
    stdout: str
    stderr: str
    took_s: float

    @property
    def ok(self) -> bool:
        return self.status == 0

    def why(self) -> str:
        """One line: the most telling line of what the program said."""
        if self.status is None:
            return f"no end after {self.took_s:.0f} s"
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        telling = [line for line in lines if line.lower().startswith(("error", "e:", "cause"))] or lines[-1:]
        said = " | ".join(dict.fromkeys([telling[0], telling[-1]])) if telling else "nothing said"
        return f"exit status {self.status}: {said[:300]}"


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would lead another tool astray, with `more` on top."""
    return {key: value for key, value in os.environ.items() if key not in _FOREIGN} | more


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    tell: Callable[[float], None] | None = None,
    tell_every_s: float = 10.0,
) -> Finished:
    """Run `argv` without stdin. With `log`, its output is appended there and not returned.

    `tell` is called with the seconds gone by, every `tell_every_s`. A program that cannot be started ends with 127.
    """
    began = time.monotonic()
    sink: IO[bytes] | int = subprocess.PIPE
    try:
        if log is not None:
            sink = log.open("ab")
        try:
            process = subprocess.Popen(
                [os.fspath(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT if log is not None else sink,
                cwd=cwd,
                env=clean_environment() if env is None else dict(env),
                start_new_session=True,
            )
        except OSError as error:
            return Finished(127, "", f"{argv[0]}: {error.strerror}", time.monotonic() - began)
    finally:
        if not isinstance(sink, int):
            sink.close()
    try:
        while True:
            gone_s = time.monotonic() - began
            try:
                stdout, stderr = process.communicate(timeout=max(0.01, min(tell_every_s, timeout_s - gone_s)))
            except subprocess.TimeoutExpired:
                gone_s = time.monotonic() - began
                if gone_s >= timeout_s:
                    _kill(process)
                    stdout, stderr = process.communicate()
                    return Finished(None, _text(stdout), _text(stderr), gone_s)
                if tell is not None:
                    tell(gone_s)
            else:
                return Finished(process.returncode, _text(stdout), _text(stderr), time.monotonic() - began)
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")
