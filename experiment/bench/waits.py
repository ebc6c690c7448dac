"""What a process's threads wait for, by stack: locks (futexes), and a world that is stopped. Linux's perf sees both.

Needs `perf` and the right to use it (root, as a rule). Where a lock is free nobody asks the kernel, so a futex counted
here is a lock that somebody else had. A stop of the world is seen by probes at CPython's own functions, whose names an
interpreter that was built without them, or stripped, does not tell.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT_COMMANDS = frozenset((0, 9, 6, 11, 13))
"""FUTEX_WAIT, WAIT_BITSET, LOCK_PI, WAIT_REQUEUE_PI, LOCK_PI2 (linux/futex.h): others wake somebody."""
_COMMAND_BITS = 0x7F
_STACK_BYTES = 8192
_STOPS = ("_PyEval_StopTheWorld", "_PyEval_StopTheWorldAll")
_STARTS = ("_PyEval_StartTheWorld", "_PyEval_StartTheWorldAll")
_FRAMES_KEPT = 5
_EVENT = re.compile(r"^\s*(\d+)\s+(\d+\.\d+):\s+(\S+):\s*(.*)$")
_FRAME = re.compile(r"(\S+)\s+(.*?)(?:\s+\((?!inlined)([^()]*)\))?(?:\s+\(inlined\))?$")
_OF_LIBC = re.compile(r"^(_*(GI_)?_*(libc_|pthread|sem_|lll_|futex|clone|start_thread|new_sem|syscall)|\[unknown\])")


class CannotTrace(RuntimeError):
    """There is no perf, or it may not look; the text says which."""


@dataclass(slots=True)
class Event:
    """One event of a thread."""

    thread: int
    time_s: float
    name: str
    arguments: str
    stack: list[str]
    """Functions, the innermost first."""


def events(lines: Iterator[str]) -> Iterator[Event]:
    """What `perf script -F tid,time,event,trace,ip,sym,dso` prints."""
    now: Event | None = None
    for line in lines:
        begun = _EVENT.match(line)
        if begun is not None:
            if now is not None:
                yield now
            now = Event(int(begun[1]), float(begun[2]), begun[3].rpartition(":")[2], begun[4], [])
        elif now is not None and line.strip():
            now.stack.append(_function(line))
    if now is not None:
        yield now


def _function(line: str) -> str:
    """Of a line "address function (library)"; the library's name where it tells none of its functions."""
    _, function, library = _FRAME.match(line.strip()).groups()  # type: ignore[union-attr] # it matches anything
    return Path(library).name if function == "[unknown]" and library not in (None, "[unknown]") else function


def where(stack: Sequence[str]) -> str:
    """Who waits: the innermost functions that are not the C library's, as `inner ← outer`."""
    named = [function for function in stack if not _OF_LIBC.match(function)]
    return " ← ".join(named[:_FRAMES_KEPT]) or "a function without a name"


def waits(found: Iterator[Event], threads: frozenset[int] | None) -> list[dict[str, Any]]:
    """`{kind, where, times, us, longest_us}` by stack, the longest in all first: locks that `threads` (all without)
    waited for, and every stop of the world, from the call that asks for it until the one that ends it."""
    begun: dict[tuple[int, str], Event] = {}
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in found:
        if event.name == "sys_enter_futex":
            operation = re.search(r"op: 0x([0-9a-f]+)", event.arguments)
            is_wait = operation is not None and int(operation[1], 16) & _COMMAND_BITS in WAIT_COMMANDS
            if is_wait and (threads is None or event.thread in threads):
                begun[event.thread, "futex"] = event
        elif event.name == "sys_exit_futex":
            _end(begun.pop((event.thread, "futex"), None), "lock", event, spent)
        elif event.name.startswith("stop"):
            begun[event.thread, "stop"] = event
        elif event.name.startswith("start"):
            _end(begun.pop((event.thread, "stop"), None), "stopped world", event, spent)
    rows = [
        {"kind": kind, "where": place, "times": len(us), "us": round(sum(us), 1), "longest_us": round(max(us), 1)}
        for (kind, place), us in spent.items()
    ]
    return sorted(rows, key=lambda row: -row["us"])


def _end(begun: Event | None, kind: str, ended: Event, spent: dict[tuple[str, str], list[float]]) -> None:
    if begun is not None:
        spent[kind, where(begun.stack)].append((ended.time_s - begun.time_s) * 1e6)


class Trace:
    """A recording by perf: begun by `start`, read by `stop`."""

    def __init__(self, perf: str, folder: Path, stops: Sequence[str]) -> None:
        self._perf, self._data, self._said = perf, folder / "perf.data", folder / "perf.log"
        self.sees_stops = bool(stops)
        """Whether stops of the world are among what it sees."""
        self._events = ["syscalls:sys_enter_futex", "syscalls:sys_exit_futex", *stops]
        self._recording: subprocess.Popen[bytes] | None = None

    def start(self, pid: int) -> None:
        """Look at all threads that this process has, and will have."""
        stacks = ["-k", "CLOCK_MONOTONIC", "--call-graph", f"dwarf,{_STACK_BYTES}"]
        with self._said.open("wb") as said:
            target = ["-p", str(pid), "-o", str(self._data)]
            command = [self._perf, "record", "-q", "-e", ",".join(self._events), *stacks, *target]
            self._recording = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def stop(self, threads: frozenset[int] | None, begin_s: float, end_s: float) -> list[dict[str, Any]]:
        """Stop, and say what was waited for (`waits`) between two times of the monotonic clock. Raises CannotTrace."""
        assert self._recording is not None
        self._recording.terminate()
        self._recording.wait()
        if not self._data.exists():
            raise CannotTrace(f"perf record: {_last_line(self._said.read_text(errors='replace'))}")
        command = [self._perf, "script", "-i", str(self._data), "-F", "tid,time,event,trace,ip,sym,dso"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        if shown.returncode != 0:
            raise CannotTrace(f"perf script: {_last_line(shown.stderr)}")
        every = events(iter(shown.stdout.splitlines()))
        return waits((event for event in every if begin_s <= event.time_s <= end_s), threads)


@contextmanager
def tracing() -> Iterator[Trace]:
    """A recording that can be started; its probes and files are gone afterwards. Raises CannotTrace."""
    perf = shutil.which("perf")
    if perf is None:
        raise CannotTrace("expected perf on PATH, found none (Debian: apt-get install linux-perf)")
    with tempfile.TemporaryDirectory() as folder:
        group = f"gateway_lab_{os.getpid()}"
        has_probes = _probe(perf, group)
        try:
            yield Trace(perf, Path(folder), [f"{group}:*"] if has_probes else [])
        finally:
            if has_probes:
                subprocess.run([perf, "probe", "-q", "-d", f"{group}:*"], capture_output=True, check=False)


def _probe(perf: str, group: str) -> bool:
    """Set probes at CPython's functions that stop the world and let it go on; False where they cannot be set."""
    wanted = [("stop", name) for name in _STOPS] + [("start", name) for name in _STARTS]
    add = [f"--add={group}:{kind}_{place}={name}" for place, (kind, name) in enumerate(wanted)]
    binary = str(Path(sys.executable).resolve())
    done = subprocess.run([perf, "probe", "-q", "-x", binary, *add], capture_output=True, check=False)
    return done.returncode == 0


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]
