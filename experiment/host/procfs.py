"""Reading /proc: who a process is, which session and run it belongs to, what it has used.
Nothing here changes anything, and a process that vanishes while it is read is `None`, not an error.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

RUN_MARKER = "GATEWAY_LAB_RUN"
"""Environment variable that every process of a run inherits: `<runner pid>-<runner start ticks>`."""
ROLE_MARKER = "GATEWAY_LAB_ROLE"
"""The same for the role, so that a process that left its session is still found."""

CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessId:
    """A process for the life of the machine: its number may be used again, number and start time are not."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"{self.pid}-{self.start_ticks}"

    @classmethod
    def parse(cls, text: str) -> ProcessId | None:
        """`"123-4567"` → its two numbers; anything else → None."""
        match = re.fullmatch(r"(\d+)-(\d+)", text)
        return cls(int(match[1]), int(match[2])) if match else None

    @classmethod
    def current(cls) -> ProcessId:
        stat = read_stat(os.getpid())
        if stat is None:
            raise RuntimeError("/proc/self/stat cannot be read: /proc must be mounted, and this be Linux")
        return stat.id

    def is_alive(self) -> bool:
        """True while it runs; a zombie is dead. A runner of a container, seen from its host under
        another number, is recognised by its number there (`NSpid`)."""
        stat = read_stat(self.pid)
        if stat is not None and stat.start_ticks == self.start_ticks:
            return not stat.is_dead
        return any(
            other.start_ticks == self.start_ticks and not other.is_dead and self.pid in _namespace_pids(other.pid)
            for other in all_stats()
        )


@dataclass(frozen=True)
class ProcessStat:
    """One /proc/<pid>/stat, or that of a thread (proc_pid_stat(5)); times in clock ticks."""

    pid: int
    name: str
    state: str
    session: int
    user_ticks: int
    system_ticks: int
    start_ticks: int
    cpu: int
    """The one that it last ran on."""

    @property
    def id(self) -> ProcessId:
        return ProcessId(self.pid, self.start_ticks)

    @property
    def is_dead(self) -> bool:
        return self.state in "ZXx"


def read_bytes(path: str) -> bytes | None:
    """The whole of a small kernel file, or None. Plain system calls: this runs hundreds of times a second."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_table(path: str) -> dict[str, int]:
    """A file of `key value` lines; empty where it cannot be read."""
    pairs = (line.split() for line in (read_bytes(path) or b"").decode().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def read_stat(pid: int) -> ProcessStat | None:
    return _stat(read_bytes(f"/proc/{pid}/stat"))


def _stat(raw: bytes | None) -> ProcessStat | None:
    if not raw:
        return None
    number, _, rest = raw.partition(b" (")
    name, _, rest = rest.rpartition(b") ")  # it may hold spaces and brackets itself
    fields = rest.split()
    session, user, system, start, cpu = (int(fields[place]) for place in (3, 11, 12, 19, 36))
    return ProcessStat(
        int(number), name.decode(errors="replace"), fields[0].decode(), session, user, system, start, cpu
    )


def all_stats() -> Iterator[ProcessStat]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := read_stat(int(name))) is not None:
            yield stat


def thread_stats() -> Iterator[tuple[int, ProcessStat]]:
    """Every thread of the machine that can be seen, each with its process."""
    for path in glob.iglob("/proc/[0-9]*/task/*/stat"):
        if (stat := _stat(read_bytes(path))) is not None:
            yield int(path.split("/")[2]), stat


def named_threads(pids: Iterable[int], prefix: str) -> list[int]:
    """Threads whose name is `prefix` and a number, in the order of that number. CPython names them from 3.14 on."""
    found: dict[int, int] = {}
    for pid in pids:
        for path in glob.iglob(f"/proc/{pid}/task/*/comm"):
            name = (read_bytes(path) or b"").decode(errors="replace").strip()
            if name.startswith(prefix) and name[len(prefix) :].isdecimal():
                found[int(name[len(prefix) :])] = int(path.split("/")[4])
    return [found[number] for number in sorted(found)]


def marker(pid: int, name: str) -> str | None:
    """The value of one environment variable of a process, as it was at its start; None if unreadable or unset."""
    raw = read_bytes(f"/proc/{pid}/environ")
    prefix = name.encode() + b"="
    for entry in (raw or b"").split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def markers(run: ProcessId, role: str) -> dict[str, str]:
    """What every process of a role has in its environment."""
    return {RUN_MARKER: str(run), ROLE_MARKER: f"{run}/{role}"}


def boot_id() -> str | None:
    raw = read_bytes("/proc/sys/kernel/random/boot_id")
    return raw.decode().strip() if raw else None


def _namespace_pids(pid: int) -> list[int]:
    for line in (read_bytes(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith(b"NSpid:"):
            return [int(number) for number in line.split()[1:]]
    return []
