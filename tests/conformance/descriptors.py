"""Which sockets a process holds, seen from outside through /proc: also those that TCP has forgotten after a reset."""

import os
import re
from contextlib import suppress
from pathlib import Path

import psutil

from tests.conformance.expect import Skipped

_SOCKET = re.compile(r"socket:\[(\d+)\]")


def gateway_socket(gateway_port: int, client_port: int) -> int:
    """Inode of the gateway's end of an open connection; Skipped where the kernel does not show it to us."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            # proc(5): slot, local address:port, remote address:port (hex), …, the inode tenth
            fields = line.split()
            ports = tuple(int(address.rpartition(":")[2], 16) for address in fields[1:3])
            if ports == (gateway_port, client_port):
                return int(fields[9])
    raise Skipped(f"the gateway's end of port {gateway_port} is not in this machine's /proc/net/tcp")


def descriptors_of(pid: int) -> set[int]:
    """Inodes of all sockets that a process and its descendants hold; Skipped where they may not be read."""
    found: set[int] = set()
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(FileNotFoundError, ProcessLookupError):
                for name in os.listdir(f"/proc/{each.pid}/fd"):
                    with suppress(FileNotFoundError):
                        if match := _SOCKET.fullmatch(os.readlink(f"/proc/{each.pid}/fd/{name}")):
                            found.add(int(match[1]))
    except (psutil.NoSuchProcess, PermissionError) as error:
        raise Skipped(f"cannot read the descriptors of process {pid}: {error}") from None
    return found
