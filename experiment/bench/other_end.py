"""The other end of a recorded program: clients and inference server of a gateway, or what the load generator sends to.

It does a round of 20 ms whenever a byte comes on its standard input, and says so by a byte. A process of its own, so
that nothing of it is counted with the program.
"""

import os
import socket
import sys
from collections.abc import Callable

from experiment.bench.feeder import FRAME, LOOPBACK, InferenceServer, connect_client

ROUND_S = 0.02
_STEPS = 20


def _clients(port: int, sessions: int) -> tuple[int, Callable[[], None]]:
    """Clients that send a frame each round, and an inference server that answers after its time."""
    listener = socket.create_server((LOOPBACK, 0), backlog=sessions)
    server = InferenceServer(listener)
    sockets = [connect_client(port) for _ in range(sessions)]
    rounds = 0

    def serve() -> None:
        nonlocal rounds
        rounds += 1
        for sock in sockets:
            sock.send(FRAME)
        server.serve(rounds * ROUND_S)

    return listener.getsockname()[1], serve


def _sink() -> tuple[int, Callable[[], None]]:
    """What takes the load generator's frames and answers once a second."""
    from loadgen.bench.sink import Sink

    listener = socket.create_server((LOOPBACK, 0), backlog=4096)
    listener.setblocking(False)
    sink = Sink(listener)

    def serve() -> None:
        for _ in range(_STEPS):
            sink.step()

    return listener.getsockname()[1], serve


def main() -> int:
    """`draining PORT SESSIONS`, or `loadgen`; until standard input ends."""
    program, *arguments = sys.argv[1:]
    port, serve = _sink() if program == "loadgen" else _clients(*map(int, arguments))
    os.write(1, f"{port}\n".encode())
    while os.read(0, 1):
        serve()
        os.write(1, b".")
    return 0


if __name__ == "__main__":
    sys.exit(main())
