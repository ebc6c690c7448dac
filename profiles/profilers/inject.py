"""Runs a script in chosen threads of a CPython 3.14 process, by its documented remote debugging protocol.

`sys.remote_exec` asks the main thread alone, and Granian's waits on a lock for ever where workers are threads. So this
writes the same request (docs.python.org/3.14/howto/remote_debugging.html) to the threads that do run. Linux, root.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_COOKIE = b"xdebugpy"
_KNOWN_VERSION = 0x030E
_PLEASE_STOP = 1 << 5
"""`_PY_EVAL_PLEASE_STOP_BIT` (pycore_ceval.h)."""
_SCRIPT_PATH_BYTES = 512

# Places in `_Py_DebugOffsets` (pycore_debug_offsets.h of 3.14), counted in 64-bit words.
_VERSION, _INTERPRETERS_HEAD, _THREADS_HEAD, _NEXT_THREAD, _NATIVE_ID = 1, 5, 9, 24, 28
_EVAL_BREAKER, _SUPPORT, _ENABLED, _PENDING_CALL, _SCRIPT_PATH, _SCRIPT_SIZE = range(89, 95)
_WORDS = 95


class CannotInject(RuntimeError):
    """The process is no CPython 3.14 that allows it, or not ours to write to; the text says which."""


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


def is_python_314(pid: int) -> bool:
    """Whether `inject` would be understood there; asks nothing of anybody."""
    try:
        with _Memory.of(pid) as memory:
            version = memory.word(_runtime_address(memory, pid) + 8 * _VERSION)
    except (OSError, CannotInject):
        return False
    return version >> 16 == _KNOWN_VERSION


def _ask(memory: "_Memory", pid: int, path: bytes, wanted: set[int] | None) -> list[int]:
    runtime = _runtime_address(memory, pid)
    offsets = struct.unpack(f"<{_WORDS}Q", memory.read(runtime, 8 * _WORDS))
    if offsets[_VERSION] >> 16 != _KNOWN_VERSION or offsets[_SCRIPT_SIZE] != _SCRIPT_PATH_BYTES:
        raise CannotInject(f"process {pid} runs CPython {offsets[_VERSION]:#x}; this knows 3.14 only")
    interpreter = memory.word(runtime + offsets[_INTERPRETERS_HEAD])
    if memory.word(interpreter + offsets[_ENABLED]) & 0xFFFFFFFF != 1:
        raise CannotInject(f"process {pid} has remote debugging switched off (PYTHON_DISABLE_REMOTE_DEBUG)")
    asked = []
    state = memory.word(interpreter + offsets[_THREADS_HEAD])
    while state:
        number = memory.word(state + offsets[_NATIVE_ID])
        if number and (wanted is None or number in wanted):
            support = state + offsets[_SUPPORT]
            memory.write(support + offsets[_SCRIPT_PATH], path)
            memory.write(support + offsets[_PENDING_CALL], struct.pack("<i", 1))
            breaker = state + offsets[_EVAL_BREAKER]
            memory.write(breaker, struct.pack("<Q", memory.word(breaker) | _PLEASE_STOP))
            asked.append(number)
        state = memory.word(state + offsets[_NEXT_THREAD])
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
