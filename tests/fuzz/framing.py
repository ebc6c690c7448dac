"""drain's decoder beside a plain websockets parse of the same bytes, byte by byte."""

from collections.abc import Iterator, Sequence
from itertools import cycle, pairwise
from typing import NamedTuple

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway import FRAME_BYTES
from variants.drain.decoder import WIRE_BYTES, ClosableProtocol, Decoder, Scratch

OUR_CLOSE = (1003, "expected 640 bytes")


class Outcome(NamedTuple):
    """What came of a connection's bytes."""

    messages: list[str | bytes]
    """In order; none after either side's close."""
    replies: bytes
    """Pongs and the close, as they are written."""
    sent_close: tuple[int, str] | None
    got_close: tuple[int, str] | None
    state: str
    ends: bool
    """Whether the server ends its direction of the stream."""


def open_protocol() -> ClosableProtocol:
    """A connection after its handshake, as the client makes it."""
    protocol = ClosableProtocol(max_size=65536)
    protocol.state = State.OPEN
    protocol.parser.close()
    protocol.parser = super(ServerProtocol, protocol).parse()
    next(protocol.parser)
    return protocol


def sent_close(protocol: ServerProtocol) -> tuple[int, str] | None:
    return None if protocol.close_sent is None else (protocol.close_sent.code, protocol.close_sent.reason)


def outcome(protocol: ServerProtocol, messages: list[str | bytes]) -> Outcome:
    got = None if protocol.close_rcvd is None else (protocol.close_rcvd.code, protocol.close_rcvd.reason)
    replies = b"".join(protocol.data_to_send())
    return Outcome(messages, replies, sent_close(protocol), got, protocol.state.name, protocol.eof_sent)


def whole_messages(protocol: ServerProtocol, data: bytes) -> Iterator[str | bytes]:
    """The messages that websockets alone makes of it, byte by byte; a text that is no UTF-8 fails the connection,
    unless it comes after our close."""
    pieces: list[bytes] = []
    opcode = Opcode.TEXT
    for at in range(len(data)):
        protocol.receive_data(data[at : at + 1])
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE) or protocol.state is not State.OPEN:
                continue
            if event.opcode is not Opcode.CONT:
                opcode, pieces = event.opcode, []
            pieces.append(bytes(event.data))
            if not event.fin:
                continue
            whole = b"".join(pieces)
            if opcode is Opcode.BINARY:
                yield whole
                continue
            try:
                yield whole.decode()
            except UnicodeDecodeError as error:
                protocol.fail(1007, f"{error.reason} at position {error.start}")


def is_audio(message: str | bytes) -> bool:
    """Whether a session takes it: another message, after the start, is the client's fault."""
    return isinstance(message, bytes) and len(message) == FRAME_BYTES


def plain(data: bytes, *, closes: bool = False) -> Outcome:
    """What websockets alone makes of it. `closes`: whether we close at the first message that is no audio."""
    protocol = open_protocol()
    messages: list[str | bytes] = []
    for message in whole_messages(protocol, data):
        messages.append(message)
        if closes and not is_audio(message):
            protocol.send_close(*OUR_CLOSE)
    return outcome(protocol, messages)


def drained(data: bytes, cuts: Sequence[int], leaves: Sequence[bool], *, closes: bool = False) -> Outcome:
    """What drain makes of it, cut at these places; the memory that it reads into is used again, as a loop does.

    `leaves`: whether audio that has come is left for the next read, in turn; not what comes last. `closes`: as for
    `plain`.
    """
    protocol = open_protocol()
    decoder, scratch = Decoder(protocol), Scratch(len(data) + WIRE_BYTES)
    decoder.expects_audio = True
    messages: list[str | bytes] = []
    may_leave, left = cycle(leaves), b""
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        part = decoder.held + left + data[start:end]
        left = b""
        scratch.memory[: len(part)] = part
        if part and decoder.is_run(scratch, len(part)):
            if end < len(data) and next(may_leave):
                left = part
                continue
            run = scratch.unmasked(len(part) // WIRE_BYTES)
            scratch.memory[:] = b"\xaa" * len(scratch.memory)
            messages += _frames(run)
            continue
        for event in decoder.receive(scratch.memory[: len(part)]):
            assert protocol.state is State.OPEN
            if isinstance(event, memoryview):
                messages += _frames(event)
            else:
                messages.append(event)
                if closes and not is_audio(event):
                    protocol.send_close(*OUR_CLOSE)
        scratch.memory[:] = b"\xaa" * len(scratch.memory)
    return outcome(protocol, messages)


def _frames(run: memoryview) -> list[bytes]:
    return [bytes(run[at : at + FRAME_BYTES]) for at in range(0, len(run), FRAME_BYTES)]
