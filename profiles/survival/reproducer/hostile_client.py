"""What one client costs another: a WebSocket server under a client that breaks RFC 6455, or floods it.

    python other_servers.py hypercorn --port 8000 &     # or any server that acknowledges every ten frames with "ack"
    python hostile_client.py 8000 fragments

The standard library alone. Attacks: `pings`, 100 000 of them in one write; `fragments`, two million empty ones of one
message; `violations`, each on a connection of its own, with another frame behind it in one write. Beside the attack an
innocent client sends ten frames ten times a second and times the acknowledgement. Prints a line of JSON. Status 1: an
acknowledgement took over 350 ms, or a connection that broke the protocol was not ended within 2 s.
"""

import argparse
import base64
import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time

MASK = b"\x01\x02\x03\x04"
LATE_MS = 350
END_S = 2.0
RUN_S = 4.0


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame of a client's (RFC 6455, section 5.2)."""
    head = bytes([fin << 7 | reserved << 4 | opcode])
    length, mask_bit = len(payload), masked << 7
    if length < 126:
        head += bytes([mask_bit | length])
    elif length < 65_536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


AUDIO = frame(2, bytes(640))
FLOODS = {
    "pings": frame(9, b"") * 100_000,
    "fragments": frame(2, b"", fin=False) + frame(0, b"", fin=False) * 2_000_000,
}
VIOLATIONS = {
    "an unmasked frame": frame(2, b"x", masked=False),
    "a reserved bit": frame(2, b"x", reserved=4),
    "a reserved opcode": frame(3, b"x"),
    "a fragmented ping": frame(9, b"", fin=False),
    "a ping of 126 bytes": frame(9, bytes(126)),
    "a continuation of nothing": frame(0, b"x"),
    "a text that is no UTF-8": frame(1, b"\xc3\x28"),
    "a declared length of 2^62": b"\x82\xff" + struct.pack("!Q", 1 << 62) + MASK,
    "a close of one byte": frame(8, b"\x03"),
    "a close reason that is no UTF-8": frame(8, b"\x03\xe8\xc3\x28"),
    **{f"close code {code}": frame(8, struct.pack("!H", code)) for code in (0, 999, 1004, 1005, 1006, 1015, 2999)},
}


def connected(port: int) -> socket.socket:
    """After the handshake."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
    sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        if not (more := sock.recv(1)):
            raise ConnectionError("the server refused the upgrade")
        answer += more
    return sock


def late_ms(port: int, until_s: float, found: list[float]) -> None:
    """The innocent: how long each acknowledgement took."""
    with connected(port) as sock:
        sock.settimeout(10)
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            sock.sendall(AUDIO * 10)
            got = b""
            while b"ack" not in got:
                got += sock.recv(64)
            found.append((time.monotonic() - began_s) * 1000)
            time.sleep(max(0.0, began_s + 0.1 - time.monotonic()))


def ends(port: int, data: bytes) -> bool:
    """Whether the server answers it with a close frame, or ends TCP, in time."""
    with connected(port) as sock:
        sock.settimeout(END_S)
        try:
            sock.sendall(data + AUDIO)
            while got := sock.recv(4096):
                if got[:1] == b"\x88":
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return True


def main() -> int:
    """Attack, and say what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("attack", choices=(*FLOODS, "violations"))
    given = parser.parse_args()
    took_ms: list[float] = []
    innocent = threading.Thread(target=late_ms, args=(given.port, time.monotonic() + RUN_S, took_ms))
    innocent.start()
    time.sleep(0.5)
    unended = []
    if given.attack == "violations":
        unended = [name for name, data in VIOLATIONS.items() if not ends(given.port, data)]
    else:
        with connected(given.port) as sock:
            sock.settimeout(RUN_S / 2)
            with contextlib.suppress(OSError):  # the server has ended it, or reads no more: both are its right
                sock.sendall(FLOODS[given.attack])
    innocent.join()
    found = {"attack": given.attack, "latest_ack_ms": round(max(took_ms)), "not_ended": unended}
    print(json.dumps(found))
    return 1 if unended or found["latest_ack_ms"] > LATE_MS else 0


if __name__ == "__main__":
    sys.exit(main())
