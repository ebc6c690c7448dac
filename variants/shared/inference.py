"""What a host asks of an inference client, whichever transport it uses. No I/O here."""

from typing import NamedTuple, Protocol

from gateway import Failure, Infer

ANSWER_LIMIT_BYTES = 64 * 1024
"""A body is cut off once more than this has come: what is left is no JSON any more, and the core says so."""


class Answer(NamedTuple):
    """An HTTP answer, whatever its status: the core judges it."""

    status: int
    body: bytes


class InferenceClient(Protocol):
    """A client of `POST /infer`, used by one event loop."""

    async def infer(self, batch: Infer) -> Answer | Failure:
        """Send one batch within the protocol's time limits; transport trouble comes back as a value."""
        ...
