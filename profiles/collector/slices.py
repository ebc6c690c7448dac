"""The scheduler's slice of a gateway's threads: how long one keeps a core from another that wants it. Linux 6.12.

sched_setattr(2): of a thread of SCHED_OTHER, `sched_runtime` is its slice, 0.1 to 100 ms (Documentation/scheduler/
sched-eevdf.rst, kernel/sched/syscalls.c). A thread that it starts later has the same.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_SET, _GET = {"x86_64": (314, 315), "aarch64": (274, 275)}.get(platform.machine(), (None, None))
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime_ns, deadline_ns, period_ns (struct sched_attr, its first version)."""
_LIBC = ctypes.CDLL(None, use_errno=True)


class CannotSetSlice(RuntimeError):
    """The kernel does not take a slice for a thread; the text says what it said."""


def set_slice(pids: Iterable[int], slice_ms: float) -> int:
    """Give every thread of the processes this slice; returns how many got it. A thread that ends meanwhile is left out.

    Raises:
        CannotSetSlice: the kernel is older, or knows another range.
    """
    given = 0
    for pid in pids:
        with suppress(FileNotFoundError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                given += _set(int(thread.name), round(slice_ms * 1e6))
    return given


def slice_ms_of(thread: int) -> float:
    """As the kernel gives it back. Raises OSError, CannotSetSlice."""
    if _GET is None:
        raise CannotSetSlice(f"sched_getattr's number is not known on {platform.machine()}")
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if _LIBC.syscall(_GET, thread, buffer, _ATTRIBUTES.size, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    runtime_ns: int = _ATTRIBUTES.unpack(buffer.raw)[5]
    return runtime_ns / 1e6


def _set(thread: int, runtime_ns: int) -> bool:
    if _SET is None:
        raise CannotSetSlice(f"sched_setattr's number is not known on {platform.machine()}")
    try:
        nice = os.getpriority(os.PRIO_PROCESS, thread)
    except ProcessLookupError:
        return False
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, runtime_ns, 0, 0)
    if _LIBC.syscall(_SET, thread, attributes, 0):
        code = ctypes.get_errno()
        if code == 3:  # ESRCH
            return False
        raise CannotSetSlice(
            f"a slice of {runtime_ns / 1e6:g} ms: {os.strerror(code)}; expected Linux 6.12, 0.1 to 100 ms"
        )
    if (now_ms := slice_ms_of(thread)) != runtime_ns / 1e6:
        raise CannotSetSlice(f"a slice of {runtime_ns / 1e6:g} ms: the kernel says {now_ms:g} ms; expected Linux 6.12")
    return True
