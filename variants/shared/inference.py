"""What a host asks of an inference client, whichever transport it uses. No I/O here."""

from typing import NamedTuple, Protocol

from gateway import Failure, Infer


class Answer(NamedTuple):
    """An HTTP answer, whatever its status: the core judges it."""

    status: int
    body: bytes


class InferenceClient(Protocol):
    """A client of `POST /infer`, used by one event loop."""

    async def infer(self, batch: Infer) -> Answer | Failure:
        """Send one batch within the protocol's time limits; transport trouble comes back as a value."""
        ...
