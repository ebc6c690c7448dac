"""Counts stalls at the reproducer's server: clients that send ten frames and wait, and begin anew after a stall.

Each connection is a life: frames that were acknowledged until it stalled, or until the hunt ended.
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
    """The server closed a connection or refused one; the text says what was seen."""


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
    """Of each stall that was looked at, while its connection stood still."""

    @property
    def frames(self) -> int:
        return sum(life.frames for life in self.lives)

    @property
    def stalls(self) -> int:
        return sum(life.stalled for life in self.lives)


def hunt(
    port: int, clients: int, seconds: float, look: Callable[[], list[dict[str, Any]]], tell: Callable[[int, int], None]
) -> Turn:
    """Keep so many clients going for so long.

    Args:
        look: takes the looks at a server with a stalled connection, and returns the findings.
        tell: told frames and stalls so far, now and then.

    Raises:
        ServerGone: a connection ended in another way than by a stall.
    """
    turn, begin_s = Turn(), time.monotonic()
    end_s = begin_s + seconds
    alive = [_start(port) for _ in range(clients)]
    while time.monotonic() < end_s:
        time.sleep(POLL_S)
        for place, client in enumerate(alive):
            if client.is_alive():
                continue
            if not client.stalled:
                raise ServerGone(f"a connection ended after {client.frames} frames without a stall")
            alive[place] = _start(port)  # the others go on meanwhile, so that the load stays as it is
            if len(turn.findings) < FORENSICS_EACH:
                turn.findings.append(look())
            if client.still_silent():
                turn.lives.append(Life(client.frames, True))
            client.socket.close()
        frames = turn.frames + sum(client.frames for client in alive)
        tell(frames, turn.stalls)
    for client in alive:
        client.stop.set()
    for client in alive:
        client.join(5)
        # One that stalls just now has not been silent long enough to be called stalled: its frames count, it does not.
        turn.lives.append(Life(client.frames, client.stalled and client.still_silent()))
        client.socket.close()
    turn.seconds = time.monotonic() - begin_s
    return turn


def _start(port: int) -> Client:
    try:
        client = Client(port, Event())
    except OSError as error:
        raise ServerGone(f"no connection: {error}") from None
    client.start()
    return client
