"""With which code does Granian close a WebSocket that an RSGI application closes?

    python -m venv venv && venv/bin/pip install granian && venv/bin/python rsgi_close.py

The application accepts and calls `protocol.close(1003)`. Prints the close frame's code, None where it has none. Status
1: it is not 1003 (Granian 2.8.7: a close without a code; its `status` is of the HTTP answer to a handshake alone).
"""

import base64
import os
import socket
import struct
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

CODE = 1003


async def app(_scope: Any, protocol: Any) -> None:
    """Close after the first message."""
    transport = await protocol.accept()
    await transport.receive()
    protocol.close(CODE)


def closed_with(port: int) -> int | None:
    """The code of the server's close frame."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
        sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += sock.recv(1)
        sock.sendall(b"\x81\x82\0\0\0\0hi")
        head = sock.recv(2)
        payload = sock.recv(head[1]) if head[1:] and head[1] else b""
    if head[:1] != b"\x88":
        raise RuntimeError(f"expected a close frame, got {head!r}")
    return struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None


def main() -> int:
    """Serve in a child, connect, and say the code."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = (
        f"from granian import Granian; Granian('{Path(__file__).stem}:app', address='127.0.0.1', port={port}, "
        "interface='rsgi', http='1', log_enabled=False).serve()"
    )
    with subprocess.Popen([sys.executable, "-c", serve], cwd=Path(__file__).parent) as server:
        try:
            until_s = time.monotonic() + 10
            while True:
                try:
                    code = closed_with(port)
                    break
                except ConnectionRefusedError:
                    if time.monotonic() > until_s:
                        raise
                    time.sleep(0.1)
        finally:
            server.terminate()
    print(f"granian {version('granian')}: asked to close with {CODE}, the client got {code}")
    return 0 if code == CODE else 1


if __name__ == "__main__":
    sys.exit(main())
