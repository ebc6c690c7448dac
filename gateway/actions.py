"""What the core asks its host to do: plain values. Nothing here does it."""

from collections.abc import Sequence
from typing import NamedTuple


class SendText(NamedTuple):
    """Write one text message to the client, then call `Session.written()`."""

    text: str


class Infer(NamedTuple):
    """POST one batch of audio, then call `Session.answered()` or `Session.failed()` exactly once."""

    chunks: Sequence[bytes | bytearray | memoryview]
    """The audio in order: pieces of whole frames, to be joined or sent one after another."""
    audio_bytes: int
    """Sum of the lengths of `chunks`."""
    cpu_passes: int
    """Value of the header `x-cpu-passes`."""


class Close(NamedTuple):
    """Close the WebSocket with this code; the session takes nothing more."""

    code: int
    reason: str
    """At most 123 bytes of UTF-8, the room that a close frame has (RFC 6455, section 5.5)."""
