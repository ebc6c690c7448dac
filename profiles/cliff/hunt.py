"""Counts stalls at the reproducer's server: clients that send ten frames and wait, and begin anew after a stall.

Each connection is a life: frames that were acknowledged until it stalled, or ended otherwise, or the hunt was over. An
answer that comes late is no stall, nor is a connection that the server closed: their frames are exposure all the same.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from profiles.cliff.reproducer.lost_wakeup import Client

POLL_S = 0.05
FORENSICS_EACH = 3
"""So many stalls of a turn are looked at; each takes a second or two of the machine."""


class ServerGone(RuntimeError):
    """The server takes no connection; the text says what was seen."""


@dataclass(frozen=True, slots=True)
class Life:
    """One connection."""

    frames: int
    stalled: bool


@dataclass(slots=True)
class Turn:
    """What one turn of hunting saw."""

    seconds: float = 0.0
    lives: list[Life] = field(default_factory=list)
    findings: list[list[dict[str, Any]]] = field(default_factory=list)
    """Of each stall that was looked at, while its connection stood still: what no look before it had shown. A task that
    lost its wake-up stays stuck, and later looks see it again."""
    recovered: int = 0
    """Connections that were silent for 2 s and then answered."""
    closed: list[str] = field(default_factory=list)
    """How the server ended each connection that it ended."""
    gone: str | None = None
    """Why the turn ended early: the server took no more connections."""

    @property
    def frames(self) -> int:
        return sum(life.frames for life in self.lives)

    @property
    def stalls(self) -> int:
        return sum(life.stalled for life in self.lives)


def hunt(
    port: int,
    clients: int,
    seconds: float,
    look: Callable[[], list[dict[str, Any]]],
    tell: Callable[[int, int], None],
    enough: Callable[[int, int], bool] = lambda frames, stalls: False,
) -> Turn:
    """Keep so many clients going for so long, or until it is enough.

    Args:
        look: takes the looks at a server with a stalled connection, and returns the findings.
        tell: told frames and stalls so far, now and then.
        enough: asked of the same whether to end now.

    Raises:
        ServerGone: not all clients could be started.
    """
    turn, begin_s = Turn(), time.monotonic()
    end_s = begin_s + seconds
    alive: list[Client] = []
    try:
        alive += (_start(port) for _ in range(clients))
    except ServerGone:
        for client in alive:
            client.stop.set()
            client.join(5)
            client.socket.close()
        raise
    while time.monotonic() < end_s and turn.gone is None:
        time.sleep(POLL_S)
        for client in [client for client in alive if not client.is_alive()]:
            alive.remove(client)
            try:
                alive.append(_start(port))  # the others go on meanwhile, so that the load stays as it is
            except ServerGone as error:
                turn.gone = str(error)
            if client.stalled and len(turn.findings) < FORENSICS_EACH:
                known = {finding["what"] for findings in turn.findings for finding in findings}
                turn.findings.append([finding for finding in look() if finding["what"] not in known])
            _end(client, turn)
        frames = turn.frames + sum(client.frames for client in alive)
        tell(frames, turn.stalls)
        if enough(frames, turn.stalls):
            break
    for client in alive:
        client.stop.set()
    for client in alive:
        client.join(5)
        # One that has been silent for less than 3 s by now is no stall: its frames count.
        _end(client, turn)
    turn.seconds = time.monotonic() - begin_s
    return turn


def _end(client: Client, turn: Turn) -> None:
    """Put a client that has ended into the turn's books."""
    stalled = client.stalled and client.still_silent()
    if client.closed is not None:
        turn.closed.append(client.closed)
    elif client.stalled and not stalled:
        turn.recovered += 1
    turn.lives.append(Life(client.frames, stalled))
    client.socket.close()


def _start(port: int) -> Client:
    try:
        client = Client(port, Event())
    except OSError as error:
        raise ServerGone(f"no connection: {error}") from None
    client.start()
    return client
