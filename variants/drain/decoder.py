"""The receiving half of one WebSocket: bytes in; runs of audio and messages out, replies queued. No I/O.

Whole regular frames (FIN, binary, masked, 640 bytes) are checked and unmasked by vector operations. Every other byte
goes through websockets' protocol object, which then stands at the same place of the stream as this decoder does.
"""

import sys
from collections.abc import Iterator

import numpy as np
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway import FRAME_BYTES

WIRE_BYTES = 648
"""A regular frame on the wire: 4 bytes of header, 4 of mask, and FRAME_BYTES of audio. Written out: a free-threaded
CPython makes constants immortal, while a sum is a number like any other, whose references all threads count."""
_WIRE_WORDS = WIRE_BYTES // 4
_HEADER = bytes((0x82, 0xFE)) + FRAME_BYTES.to_bytes(2, "big")  # FIN + binary, masked + 16-bit length (RFC 6455, 5.2)
_HEADER_BYTES = [_HEADER[at : at + 1] for at in range(len(_HEADER))]
_HEADER_WORD = np.uint32(int.from_bytes(_HEADER, sys.byteorder))

MOST_ODD_FRAMES = 4000
"""More frames that are no plain audio than this, between two ticks, are a flood, and end the connection: each costs
some 10 µs, during which everybody else waits. A client that sends its audio in four fragments each sends 200."""

Event = memoryview | bytes | str
"""A run of whole regular frames, unmasked, in memory of its own; one other binary message; one text message."""


def _length_bytes(head: bytearray) -> int:
    """How much of a frame says how long it is: 2, 4 or 10 bytes, as far as `head`, its beginning, can tell."""
    if len(head) < 2:
        return 2
    return {126: 4, 127: 10}.get(head[1] & 0x7F, 2)


def _rest_bytes(head: bytearray) -> int:
    """Mask and payload of the frame that begins with all of `head`."""
    short = head[1] & 0x7F
    return (4 if head[1] & 0x80 else 0) + (int.from_bytes(head[2:], "big") if short >= 126 else short)


def _is_regular(data: bytes) -> bool:
    """Whether these are whole regular frames."""
    frames, rest = divmod(len(data), WIRE_BYTES)
    return not rest and all(data[at::WIRE_BYTES] == byte * frames for at, byte in enumerate(_HEADER_BYTES))


class ClosableProtocol(ServerProtocol):
    """websockets' own, but that a close is taken between the fragments of a message, as a ping is (RFC 6455, 5.4, and
    Autobahn's case 7.1.5)."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class Decoder:
    """One connection's decoder, from the byte after the handshake on.

    Args:
        protocol: after its handshake; it takes no bytes from elsewhere any more.
    """

    __slots__ = ("_fragments", "_head", "_is_text", "_owed_bytes", "_protocol", "held", "odd_frames")

    def __init__(self, protocol: ClosableProtocol) -> None:
        self._protocol = protocol
        self.held = b""
        """Bytes that were received and not decoded: a few regular frames, the last perhaps only begun. Who calls
        `receive` puts them before what comes next."""
        self.odd_frames = 0
        """That the protocol took one by one; the owner sets it back at each tick."""
        self._head = bytearray()
        """What the protocol was given of the current frame, while that does not tell the frame's length."""
        self._owed_bytes = 0
        """What the protocol has yet to be given of the current frame."""
        self._fragments: list[bytes] = []
        self._is_text = False

    def receive(self, data: memoryview, *, may_hold: bool = False) -> Iterator[Event]:
        """Take the next bytes, `held` first; what they complete, in order. Nothing follows a close of either side: the
        bytes after an event are looked at once it has been handled, and a close sent meanwhile leaves only the peer's
        of interest.

        Args:
            may_hold: whether whole regular frames, and nothing else, may be held: with the next they cost less.
        """
        if may_hold and not self.held and self._between_frames and _is_regular(raw := bytes(data)):
            self.held = raw
            return
        self.held = b""
        at, end = 0, len(data)
        protocol = self._protocol
        while at < end:
            if protocol.state is not State.OPEN:
                protocol.receive_data(bytes(data[at:]))  # the peer's close is all that is still of interest
                protocol.events_received()
                break
            if self._between_frames:
                run = self._take_run(data, at)
                if run is not None:
                    at += len(run) // FRAME_BYTES * WIRE_BYTES
                    yield run
                    continue
                if end - at < WIRE_BYTES and data[at : at + len(_HEADER)] == _HEADER[: end - at]:
                    self.held = bytes(data[at:])
                    break
            if not self._owed_bytes and not self._head:
                self.odd_frames += 1
                if self.odd_frames > MOST_ODD_FRAMES:
                    protocol.fail(CloseCode.POLICY_VIOLATION, f"over {MOST_ODD_FRAMES} frames a second besides audio")
                    break
            at += self._feed(data, at)
            for frame in protocol.events_received():
                assert isinstance(frame, Frame)
                event = self._take_frame(frame)
                if event is not None:
                    yield event

    @property
    def _between_frames(self) -> bool:
        """Whether the connection is open, and the next byte begins a frame and no continuation is awaited."""
        protocol = self._protocol
        return (
            not self._owed_bytes and not self._head and protocol.current_size is None and protocol.state is State.OPEN
        )

    @staticmethod
    def _take_run(data: memoryview, at: int) -> memoryview | None:
        """Unmask the whole regular frames that follow each other from `at` on; None where there is none."""
        frames = (len(data) - at) // WIRE_BYTES
        if not frames:
            return None
        words = np.ndarray((frames, _WIRE_WORDS), np.uint32, data, at)
        if words[:, 0].tobytes() != _HEADER * frames:
            frames = (words[:, 0] == _HEADER_WORD).tobytes().find(0)
            if not frames:
                return None
            words = words[:frames]
        audio = words[:, 2:] ^ words[:, 1:2]
        run: memoryview = audio.data.cast("B")
        return run

    def _feed(self, data: memoryview, at: int) -> int:
        """Give the protocol what is there of one frame, and nothing of the next; how many bytes it was."""
        if self._owed_bytes:
            part = bytes(data[at : at + self._owed_bytes])
            self._owed_bytes -= len(part)
        else:
            head = self._head
            part = bytes(data[at : at + _length_bytes(head) - len(head)])
            head += part
            if len(head) == _length_bytes(head):
                self._owed_bytes = _rest_bytes(head)
                head.clear()
        self._protocol.receive_data(part)
        return len(part)

    def _take_frame(self, frame: Frame) -> bytes | str | None:
        """The message that a frame completes, if it does. Control frames were answered by the protocol."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return None
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return None
        message = b"".join(self._fragments)
        self._fragments.clear()
        if not self._is_text:
            return message
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            self._protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            return None


def text_frame(text: str) -> bytes:
    """One unmasked text message, as a server sends it."""
    payload = text.encode()
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 65536:
        return b"\x81\x7e%b%b" % (length.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (length.to_bytes(8, "big"), payload)
