"""A small asyncio program in a process of its own, for tests that attach to one. Needs CPython 3.14 and ptrace."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiment.setup import SetupError, ensure

FREE_THREADED_OR_GIL = ("3.14", "3.14t")


def python_of(tag: str) -> Path:
    """The interpreter's own executable; skips the test, saying why, where it is not here."""
    if tag == "3.14" and sys.version_info[:2] == (3, 14):
        return Path(sys.executable)
    try:
        return ensure("memray", tag, allow_stand_in=False).python
    except SetupError as error:
        pytest.skip(f"no CPython {tag} here: {error.reason}")


@contextmanager
def program(python: Path, source: str) -> Iterator[tuple[int, list[str]]]:
    """Runs `source`; gives its pid and the words of its first line of output."""
    child = subprocess.Popen([str(python), "-c", source], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.pid, child.stdout.readline().split()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
