"""Runs a script in chosen threads of a CPython 3.14 or 3.15 process, by its documented remote debugging protocol.

`sys.remote_exec` asks the main thread alone, and Granian's waits on a lock for ever where workers are threads. So this
writes the same request (docs.python.org/3.14/howto/remote_debugging.html) to the threads that do run. Linux, root.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_COOKIE = b"xdebugpy"
_PLEASE_STOP = 1 << 5
"""`_PY_EVAL_PLEASE_STOP_BIT` (pycore_ceval.h)."""
_SCRIPT_PATH_BYTES = 512
_VERSION = 1
"""Place of the version in `_Py_DebugOffsets` (pycore_debug_offsets.h), in 64-bit words; the others' depend on it."""


class _Offsets(NamedTuple):
    """What is read of `_Py_DebugOffsets`; in `_PLACES` where it stands there, in 64-bit words."""

    interpreters_head: int
    threads_head: int
    next_thread: int
    frame: int
    base_frame: int
    """Where it points in a thread that runs no Python function (from 3.15 on; before, nowhere: the place is 0)."""
    thread_id: int
    native_id: int
    eval_breaker: int
    support: int
    enabled: int
    pending_call: int
    script_path: int
    script_size: int


_PLACES = {
    0x030E: _Offsets(5, 9, 24, 26, 0, 27, 28, *range(89, 95)),
    0x030F: _Offsets(5, 9, 24, 26, 27, 30, 31, *range(105, 111)),
}


class CannotInject(RuntimeError):
    """The process is no CPython 3.14 or 3.15 that allows it, or not ours to write to; the text says which."""


def inject(pid: int, script: Path, threads: Iterable[int] | None = None) -> list[int]:
    """Ask threads (by native number; None: all that Python knows) to run `script`. Returns those asked.

    A thread runs it when it next comes by the interpreter loop; one that sleeps in the kernel does so when it wakes.

    Raises:
        CannotInject: see there.
    """
    path = str(script).encode() + b"\0"
    if len(path) > _SCRIPT_PATH_BYTES:
        raise CannotInject(f"the script's path has {len(path)} bytes; at most {_SCRIPT_PATH_BYTES}")
    wanted = None if threads is None else set(threads)
    try:
        with _Memory.of(pid) as memory:
            return _ask(memory, pid, path, wanted)
    except OSError as error:
        raise CannotInject(f"process {pid}: {error.strerror or error}; it must run, and this be root") from None


def is_known_python(pid: int) -> bool:
    """Whether `inject` would be understood there; asks nothing of anybody."""
    try:
        with _Memory.of(pid) as memory:
            version = memory.word(_runtime_address(memory, pid) + 8 * _VERSION)
    except (OSError, CannotInject):
        return False
    return version >> 16 in _PLACES


def thread_names(pid: int) -> dict[int, str]:
    """What the kernel calls each thread that Python knows, by the identity that `threading.get_ident` gives there; with
    "(no Python frame)" where it is in no Python function now, as a thread of an extension is between two calls.

    Raises:
        CannotInject: as above.
    """
    try:
        with _Memory.of(pid) as memory:
            offsets, interpreter = _interpreter(memory, pid)
            states = list(_thread_states(memory, offsets, interpreter))
            return {memory.word(at + offsets.thread_id): _named(memory, pid, offsets, at) for at in states}
    except OSError as error:
        raise CannotInject(f"process {pid}: {error.strerror or error}; it must run, and this be root") from None


def _named(memory: "_Memory", pid: int, offsets: _Offsets, state: int) -> str:
    name = Path(f"/proc/{pid}/task/{memory.word(state + offsets.native_id)}/comm").read_text().strip()
    frame = memory.word(state + offsets.frame)
    base = memory.word(state + offsets.base_frame) if offsets.base_frame else 0
    return name if frame != base else f"{name} (no Python frame)"


def _interpreter(memory: "_Memory", pid: int) -> tuple[_Offsets, int]:
    """The offsets, and where the main interpreter's state lies."""
    runtime = _runtime_address(memory, pid)
    version = memory.word(runtime + 8 * _VERSION)
    places = _PLACES.get(version >> 16)
    offsets = None if places is None else _Offsets(*(place and memory.word(runtime + 8 * place) for place in places))
    if offsets is None or offsets.script_size != _SCRIPT_PATH_BYTES:
        raise CannotInject(f"process {pid} runs CPython {version:#x}; this knows 3.14 and 3.15 only")
    return offsets, memory.word(runtime + offsets.interpreters_head)


def _thread_states(memory: "_Memory", offsets: _Offsets, interpreter: int) -> Iterator[int]:
    state = memory.word(interpreter + offsets.threads_head)
    while state:
        yield state
        state = memory.word(state + offsets.next_thread)


def _ask(memory: "_Memory", pid: int, path: bytes, wanted: set[int] | None) -> list[int]:
    offsets, interpreter = _interpreter(memory, pid)
    if memory.word(interpreter + offsets.enabled) & 0xFFFFFFFF != 1:
        raise CannotInject(f"process {pid} has remote debugging switched off (PYTHON_DISABLE_REMOTE_DEBUG)")
    asked = []
    for state in _thread_states(memory, offsets, interpreter):
        number = memory.word(state + offsets.native_id)
        if number and (wanted is None or number in wanted):
            support = state + offsets.support
            memory.write(support + offsets.script_path, path)
            memory.write(support + offsets.pending_call, struct.pack("<i", 1))
            breaker = state + offsets.eval_breaker
            memory.write(breaker, struct.pack("<Q", memory.word(breaker) | _PLEASE_STOP))
            asked.append(number)
    return asked


class _Memory:
    """Another process's memory, by /proc/<pid>/mem."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    @contextmanager
    def of(cls, pid: int) -> Iterator["_Memory"]:
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        try:
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def read(self, address: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, address)

    def word(self, address: int) -> int:
        value: int = struct.unpack("<Q", self.read(address, 8))[0]
        return value

    def write(self, address: int, data: bytes) -> None:
        os.pwrite(self._descriptor, data, address)


def _runtime_address(memory: _Memory, pid: int) -> int:
    """Where `_PyRuntime` lies: section `.PyRuntime` of the executable, or of libpython."""
    tried = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, _, offset, _, _, *name = line.split(maxsplit=5)
        if not name or int(offset, 16) or "python" not in Path(name[0]).name:
            continue
        tried.append(name[0])
        try:
            place = _section(_mapped(pid, addresses, name[0]), b".PyRuntime")
        except FileNotFoundError:
            continue
        if place is None:
            continue
        address, is_relative = place
        runtime = address + (int(addresses.partition("-")[0], 16) if is_relative else 0)
        if memory.read(runtime, 8) == _COOKIE:
            return runtime
    raise CannotInject(f"process {pid} is no CPython with remote debugging; looked in {', '.join(tried) or 'nothing'}")


def _mapped(pid: int, addresses: str, name: str) -> Path:
    """The file that is mapped there, also where another has taken its name since, or none (" (deleted)"). The kernel
    keeps it by its addresses, for root; else it is looked for by its name, below the process's own root."""
    start, end = (int(address, 16) for address in addresses.split("-"))
    kept = Path(f"/proc/{pid}/map_files/{start:x}-{end:x}")
    return kept if os.access(kept, os.R_OK) else Path(f"/proc/{pid}/root{name}")


def _section(file: Path, wanted: bytes) -> tuple[int, bool] | None:
    """A section's address in a 64-bit little-endian ELF file, and whether it is relative to where that is loaded."""
    with file.open("rb") as elf:
        header = elf.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return None
        kind = struct.unpack_from("<H", header, 16)[0]
        table, size, count, names = (
            struct.unpack_from("<Q", header, 40)[0],
            *struct.unpack_from("<HHH", header, 58),
        )
        elf.seek(table)
        sections = [struct.unpack_from("<IIQQQQ", elf.read(size)) for _ in range(count)]
        elf.seek(sections[names][4])
        strings = elf.read(sections[names][5])
    for name, _, _, address, _, _ in sections:
        if strings[name : strings.index(b"\0", name)] == wanted:
            return address, kind == 3  # ET_DYN
    return None
