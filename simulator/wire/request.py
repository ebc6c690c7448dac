"""One request as the application sees it, whatever the protocol, and the way back to its client. No I/O."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

BODY_MAX_BYTES = 16 << 20
"""Of a request: audio takes a sixteenth of it, a scripted behaviour with a huge answer the half."""


class Request(NamedTuple):
    """A whole request."""

    method: str
    path: str
    cpu_passes: str | None
    """The header x-cpu-passes as sent."""
    body: bytes


class Exchange(ABC):
    """A request and its client. Whoever answers calls one of the verbs, once; all are silent once the client has
    gone."""

    protocol: str
    """"1.1" or "2"."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_gone = False
        self.on_gone: Callable[[], None] | None = None
        """Called once when the client gives up before an answer."""

    @abstractmethod
    def answer(self, status: int, body: bytes, declared_bytes: int | None = None) -> None:
        """Send a whole answer of JSON, with another content-length than its own where one is declared."""

    @abstractmethod
    def answer_half(self, status: int, body: bytes, then: str) -> None:
        """Send the head and half of the body; `then` "end" as if that were all, "fin" end the connection, "rst" reset
        it, or "hang"."""

    @abstractmethod
    def reset(self) -> None:
        """Reset the connection without an answer."""

    @abstractmethod
    def say(self, data: bytes) -> None:
        """Send bytes that are no answer, and nothing more."""

    def left(self) -> None:
        """The client has given up."""
        if not self.is_gone:
            self.is_gone = True
            if self.on_gone is not None:
                self.on_gone()
