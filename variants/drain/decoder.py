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


class Scratch:
    """Room for what one look receives, and the same memory seen as regular frames. For one thread's connections.

    Args:
        size_bytes: a multiple of WIRE_BYTES is not needed; what is over is room like the rest.
    """

    __slots__ = ("_audio", "_first_words", "_masks", "memory")

    def __init__(self, size_bytes: int) -> None:
        self.memory = memoryview(bytearray(size_bytes))
        words = np.ndarray((size_bytes // WIRE_BYTES, _WIRE_WORDS), np.uint32, self.memory)
        self._first_words = self.memory[: words.nbytes].cast("I")[::_WIRE_WORDS]
        self._masks, self._audio = words[:, 1:2], words[:, 2:]

    def holds_regular(self, frames: int) -> bool:
        """Whether so many frames at its beginning are regular; of the last, four bytes are looked at, as of all."""
        return self._first_words[:frames].tobytes() == _HEADER * frames

    def unmasked(self, frames: int) -> memoryview:
        """The audio of so many regular frames at its beginning, in memory of its own."""
        run: memoryview = (self._audio[:frames] ^ self._masks[:frames]).data.cast("B")
        return run


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

    __slots__ = (
        *("_at_run", "_fragments", "_head", "_is_text", "_owed_bytes", "_protocol"),
        *("expects_audio", "held", "odd_frames"),
    )

    def __init__(self, protocol: ClosableProtocol) -> None:
        self._protocol = protocol
        self.held = b""
        """The beginning of a regular frame that was received. Who calls `receive` puts it before what comes next."""
        self.expects_audio = False
        """Set by the owner once a session has started: from then on `is_run` may say so."""
        self._at_run = False
        """Whether the next byte begins a frame, which may be audio."""
        self.odd_frames = 0
        """That the protocol took one by one; the owner sets it back at each tick."""
        self._head = bytearray()
        """What the protocol was given of the current frame, while that does not tell the frame's length."""
        self._owed_bytes = 0
        """What the protocol has yet to be given of the current frame."""
        self._fragments: list[bytes] = []
        self._is_text = False

    def receive(self, data: memoryview) -> Iterator[Event]:
        """Take the next bytes, `held` first; what they complete, in order. Nothing follows a close of either side: the
        bytes after an event are looked at once it has been handled, and a close sent meanwhile leaves only the peer's
        of interest.
        """
        self.held, self._at_run = b"", False
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
        self._at_run = self.expects_audio and not self.held and self._between_frames

    def is_run(self, scratch: Scratch, size_bytes: int) -> bool:
        """Whether the next bytes, at the beginning of `scratch`, are whole regular frames and nothing else: they need
        not come by `receive`."""
        frames, rest = divmod(size_bytes, WIRE_BYTES)
        return self._at_run and not rest and scratch.holds_regular(frames)

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
