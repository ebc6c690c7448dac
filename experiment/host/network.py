"""A network namespace of a point's own, in which chosen CPUs do the work of receiving (receive packet steering: Linux
kernel documentation, networking/scaling). On plain loopback the sender's CPU does it. Nothing is measured here.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from experiment.host.limits import ShapeRefused

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_IFREQ = "16sH14x"
_OWN = "/proc/thread-self/ns/net"
_MASK = Path("/sys/class/net/lo/queues/rx-0/rps_cpus")
_NOT_INHERITED = ("net/core/somaxconn", "net/ipv4/ip_local_port_range")
"""Settings that a new namespace has the kernel's own of, not this machine's."""


class CannotSteer(ShapeRefused):
    """What it takes cannot be had here; the text says what."""


class Network:
    """Made on construction, gone when it is closed and the last process in it has ended. Raises CannotSteer."""

    def __init__(self, cpus: Collection[int]) -> None:
        self._namespace = -1
        self.mask = ""
        """Of the CPUs that receive, as the kernel reads it back."""
        _in_a_thread(lambda: self._make(cpus))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile, and processes that it starts, are in the namespace. Do not await
        in it: other tasks of the loop would be in it as well."""
        before = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._namespace, _CLONE_NEWNET)
            yield
        finally:
            _call("setns", before, _CLONE_NEWNET)
            os.close(before)

    def close(self) -> None:
        """May be called again."""
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1

    def _make(self, cpus: Collection[int]) -> None:
        """In a thread that ends with it: what it mounts is seen by no other and goes with it."""
        settings = {name: Path("/proc/sys", name).read_text() for name in _NOT_INHERITED}
        _call("unshare", _CLONE_NEWNET | _CLONE_NEWNS)
        namespace = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
            _call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)  # the one that is mounted shows the first namespace
            for name, value in settings.items():
                Path("/proc/sys", name).write_text(value)
            _bring_loopback_up()
            _MASK.write_text(mask_of(cpus))
            self.mask = _MASK.read_text().strip()
        except BaseException:
            os.close(namespace)
            raise
        if cpus_of(self.mask) != set(cpus):
            os.close(namespace)
            raise CannotSteer(f"{_MASK}: expected CPUs {sorted(cpus)} to be read back, got {self.mask!r}")
        self._namespace = namespace


def cannot_steer(cpus: Collection[int]) -> str | None:
    """Why receiving cannot be steered to these CPUs here; None where it can. Tries it."""
    try:
        Network(cpus).close()
    except CannotSteer as reason:
        return str(reason)
    return None


def mask_of(cpus: Collection[int]) -> str:
    """As the kernel takes it: hexadecimal words of 32 CPUs, highest first, commas between. {1, 33} → "2,00000002"."""
    bits = sum(1 << cpu for cpu in cpus)
    words = [f"{bits >> 32 * place & 0xFFFFFFFF:08x}" for place in range(max(cpus) // 32 + 1)]
    return ",".join(reversed(words)).lstrip("0")


def cpus_of(mask: str) -> set[int]:
    """Of a mask as it is read back, with leading zeros or not."""
    bits = 0
    for word in mask.split(","):
        bits = bits << 32 | int(word, 16)
    return {cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1}


def _in_a_thread(make: Callable[[], None]) -> None:
    """What `make` changes of its thread is gone with it. OSError becomes CannotSteer."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            make()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="network namespace")
    thread.start()
    thread.join()
    for error in raised:
        if isinstance(error, OSError):
            what = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
            raise CannotSteer(
                f"{what}; it takes root in the first user namespace (CAP_SYS_ADMIN, CAP_NET_ADMIN)"
            ) from None
        raise error


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack(_IFREQ, b"lo", 0)
        flags: int = struct.unpack(_IFREQ, fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack(_IFREQ, b"lo", flags | _IFF_UP))


def _call(name: str, *arguments: object) -> None:
    """A function of the C library that gives 0, or sets errno."""
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
