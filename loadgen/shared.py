"""What a worker and its connections have in common: states, limits, and the lists they all write to.

Only data and its smallest operations live here; what a connection does is in `connection`, when it does it in `worker`.
"""

import errno
import select
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from websockets.uri import WebSocketURI

from loadgen.samples import Row

C = TypeVar("C")
"""A connection: what it is and does is not known here."""

# Ours, not the gateway's: EADDRNOTAVAIL is running out of local ports, which go the way of descriptors.
_OUT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL))
_OUT_OF_MEMORY = frozenset((errno.ENOMEM, errno.ENOBUFS))


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds (PROTOCOL, section 3)."""

    connect_s: float = 5.0
    send_s: float = 5.0
    close_s: float = 5.0
    session_s: float = 15.0
    last_answer_s: float = 3.0
    stall_s: float = 3.0
    hold_s: float = 0.0
    """So long past `stall_s` a session that stands still is spared every limit, for a look at the gateway."""


class State(Enum):
    """A session's life, in order."""

    CONNECTING = auto()
    UPGRADING = auto()
    STREAMING = auto()
    DRAINING = auto()  # no more audio; the message that covers the last frame is awaited
    CLOSING = auto()
    DONE = auto()


@dataclass(slots=True)
class Exhaustion:
    """What the load generator itself ran out of, and how often."""

    descriptors: int = 0
    memory: int = 0

    def takes(self, error: OSError) -> bool:
        """Whether `error` is the harness's own exhaustion; counted if so."""
        if error.errno in _OUT_OF_DESCRIPTORS:
            self.descriptors += 1
        elif error.errno in _OUT_OF_MEMORY:
            self.memory += 1
        else:
            return False
        return True


@dataclass(slots=True)
class Shared(Generic[C]):
    """What all connections of a worker write to. `clock` gives seconds since t0."""

    uri: WebSocketURI
    address: Any
    family: int
    epoll: select.epoll
    clock: Callable[[], float]
    limits: Limits
    rows: list[Row]
    recent_newest_ms: list[float]
    blocked_ms: list[tuple[float, float]]  # (due, milliseconds late) of each frame that found its socket full
    by_fd: dict[int, C]
    blocked: set[C]
    exhaustion: Exhaustion
