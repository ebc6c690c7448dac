"""A small asyncio program in a process of its own, for tests that attach to one. Needs CPython 3.14 and ptrace."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FREE_THREADED_OR_GIL = ("3.14", "3.14t")


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
