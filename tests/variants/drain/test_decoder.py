"""The decoder against a plain websockets parse of the same bytes: any traffic, cut anywhere, gives the same result."""

import struct
from itertools import cycle, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway import FRAME_BYTES
from tests.conformance.wire import frame
from variants.drain.decoder import MOST_ODD_FRAMES, WIRE_BYTES, Decoder, text_frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

masks = st.one_of(st.sampled_from([bytes(4), b"\xff" * 4, b"\0\0\0\1"]), st.binary(min_size=4, max_size=4))


def audio(seed: int) -> bytes:
    """One frame's audio, telling from another's."""
    return struct.pack("<I", seed) * (FRAME_BYTES // 4)


@st.composite
def regular(draw: st.DrawFn) -> bytes:
    """A few regular frames."""
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6))
    return b"".join(frame(BINARY, audio(seed), mask=draw(masks)) for seed in seeds)


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """One message in pieces, control frames between them, all of it from one kind or one that spoils it."""
    opcode = draw(st.sampled_from([BINARY, BINARY, TEXT]))
    pieces = draw(st.lists(st.binary(max_size=400), min_size=1, max_size=3))
    data = frame(opcode, pieces[0], fin=False, mask=draw(masks))
    for piece in pieces[1:]:
        data += frame(CONTINUATION, piece, fin=False, mask=draw(masks))
        data += draw(
            st.sampled_from([b"", frame(PING, b"between", mask=b"mask"), frame(BINARY, audio(1), mask=b"mask")])
        )
    return data + frame(CONTINUATION, draw(st.binary(max_size=10)), mask=draw(masks))


@st.composite
def long_form(draw: st.DrawFn) -> bytes:
    """Audio whose length is told in eight bytes, or one that is too long for anything."""
    length = draw(st.sampled_from([FRAME_BYTES, 65537, 2**40, 2**64 - 1]))
    return b"\x82\xff" + struct.pack("!Q", length) + b"mask" + audio(7)


odd = st.one_of(
    st.builds(lambda payload: frame(PING, payload, mask=b"mask"), st.binary(max_size=125)),
    st.builds(lambda payload: frame(PONG, payload, mask=b"mask"), st.binary(max_size=125)),
    st.builds(lambda text: frame(TEXT, text.encode(), mask=b"mask"), st.text(max_size=300)),
    st.builds(lambda data: frame(TEXT, data, mask=b"mask"), st.binary(max_size=20)),
    st.builds(lambda size: frame(BINARY, bytes(size), mask=b"mask"), st.sampled_from([0, 1, 639, 641, 1280, 70000])),
    fragments(),
    long_form(),
)
wrong = st.one_of(
    st.builds(lambda data: frame(CLOSE, data, mask=b"mask"), st.one_of(st.just(b"\x03\xe8bye"), st.binary(max_size=6))),
    st.just(frame(BINARY, audio(3), mask=None)),
    st.builds(lambda bits: frame(BINARY, audio(4), reserved=bits, mask=b"mask"), st.integers(1, 7)),
    st.builds(lambda opcode: frame(opcode, audio(5), mask=b"mask"), st.sampled_from([3, 7, 11, 15])),
    st.just(frame(CONTINUATION, audio(6), mask=b"mask")),
    st.just(frame(PING, bytes(126), mask=b"mask")),
    st.binary(min_size=1, max_size=50),
)


@st.composite
def traffic(draw: st.DrawFn) -> bytes:
    """Mostly audio, what else may come, perhaps what must not, perhaps cut off."""
    parts = draw(st.lists(st.one_of(regular(), regular(), odd), max_size=6))
    if draw(st.booleans()):
        parts += [draw(wrong), draw(regular())]
    data = b"".join(parts)
    return data[: len(data) - draw(st.integers(0, 700))] if draw(st.booleans()) else data


def open_protocol() -> ServerProtocol:
    """A connection after its handshake, as the client makes it."""
    protocol = ServerProtocol(max_size=65536)
    protocol.state = State.OPEN
    protocol.parser.close()
    protocol.parser = super(ServerProtocol, protocol).parse()
    next(protocol.parser)
    return protocol


def sent_close(protocol: ServerProtocol) -> tuple[int, str] | None:
    return None if protocol.close_sent is None else (protocol.close_sent.code, protocol.close_sent.reason)


Outcome = tuple[list[str | bytes], bytes, tuple[int, str] | None]
"""Messages in order, replies as bytes, and the close that was sent."""


def plain(data: bytes) -> Outcome:
    """What websockets alone makes of it, byte by byte."""
    protocol = open_protocol()
    messages: list[str | bytes] = []
    pieces: list[bytes] = []
    opcode = Opcode.TEXT
    for at in range(len(data)):
        protocol.receive_data(data[at : at + 1])
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
                continue
            if event.opcode is not Opcode.CONT:
                opcode, pieces = event.opcode, []
            pieces.append(bytes(event.data))
            if not event.fin:
                continue
            whole = b"".join(pieces)
            if opcode is Opcode.BINARY:
                messages.append(whole)
                continue
            try:
                messages.append(whole.decode())
            except UnicodeDecodeError as error:
                protocol.fail(1007, f"{error.reason} at position {error.start}")
    return messages, b"".join(protocol.data_to_send()), sent_close(protocol)


def drained(data: bytes, cuts: list[int], holds: list[bool]) -> Outcome:
    """What the decoder makes of it, cut at these places; the memory that it is given is used again, as a loop does.

    `holds`: whether it may hold what comes, in turn; not what comes last.
    """
    protocol = open_protocol()
    decoder = Decoder(protocol)
    messages: list[str | bytes] = []
    scratch = bytearray(len(data))
    may_hold = cycle(holds)
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        part = decoder.held + data[start:end]
        scratch[: len(part)] = part
        for event in decoder.receive(memoryview(scratch)[: len(part)], may_hold=end < len(data) and next(may_hold)):
            if isinstance(event, memoryview):
                run = bytes(event)
                messages += [run[at : at + FRAME_BYTES] for at in range(0, len(run), FRAME_BYTES)]
            else:
                messages.append(event)
        scratch[:] = b"\xaa" * len(scratch)
    return messages, b"".join(protocol.data_to_send()), sent_close(protocol)


@settings(max_examples=150, deadline=None)
@given(
    data=traffic(),
    places=st.lists(st.floats(0, 1), max_size=8),
    on_frames=st.booleans(),
    holds=st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_any_traffic_cut_anywhere_is_what_a_plain_parse_makes_of_it(
    data: bytes, places: list[float], on_frames: bool, holds: list[bool]
) -> None:
    step = WIRE_BYTES if on_frames else 1
    assert drained(data, [int(place * len(data)) // step * step for place in places], holds) == plain(data)


@settings(max_examples=20, deadline=None)
@given(data=traffic())
def test_bytes_that_come_one_by_one_make_no_difference(data: bytes) -> None:
    data = data[:3000]
    assert drained(data, list(range(len(data))), [False]) == plain(data)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=3000), start=st.sampled_from([b"", frame(BINARY, audio(1), mask=b"mask")]))
def test_random_bytes_never_raise_and_close_alike(data: bytes, start: bytes) -> None:
    data = start + data
    assert drained(data, [len(data) // 3, len(data) // 2], [True, False]) == plain(data)


def test_regular_frames_come_as_one_run_whatever_their_masks() -> None:
    frames = [frame(BINARY, audio(seed)) for seed in range(50)]
    (run,) = Decoder(open_protocol()).receive(memoryview(b"".join(frames)))
    assert isinstance(run, memoryview)
    assert bytes(run) == b"".join(audio(seed) for seed in range(50))


def test_after_something_else_and_after_a_cut_the_fast_path_is_taken_again() -> None:
    decoder = Decoder(open_protocol())
    data = frame(PING, b"odd") + b"".join(frame(BINARY, audio(seed)) for seed in range(4))
    first, second = data[: -WIRE_BYTES - 5], data[-WIRE_BYTES - 5 :]
    for part, runs in ((first, [2]), (second, [2])):
        events = decoder.receive(memoryview(decoder.held + part))
        assert [len(run) // FRAME_BYTES for run in events if isinstance(run, memoryview)] == runs


def test_frames_that_may_be_held_are_decoded_with_the_next_and_only_once_held() -> None:
    decoder = Decoder(open_protocol())
    data = b"".join(frame(BINARY, audio(seed)) for seed in range(3))
    assert list(decoder.receive(memoryview(data), may_hold=True)) == []
    assert decoder.held == data
    (run,) = decoder.receive(memoryview(decoder.held + data), may_hold=True)
    assert len(run) == 6 * FRAME_BYTES
    assert decoder.held == b""


def test_what_is_not_all_regular_frames_is_never_held() -> None:
    for data in (frame(BINARY, audio(1)) + frame(PING, b"now"), frame(BINARY, audio(1), reserved=1)):
        protocol = open_protocol()
        decoder = Decoder(protocol)
        list(decoder.receive(memoryview(data), may_hold=True))
        assert decoder.held == b""
        assert protocol.data_to_send()


def test_a_text_frame_is_what_websockets_writes() -> None:
    for text in ("", "x" * 125, "ä" * 63, "x" * 65535, "x" * 65536):
        assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def test_a_close_between_fragments_is_answered_with_its_own_code() -> None:
    data = frame(TEXT, b"begun", fin=False) + frame(CLOSE, struct.pack("!H", 1001)) + frame(CONTINUATION, b"not ended")
    for cuts in ([], list(range(len(data)))):
        assert drained(data, cuts, [False]) == ([], frame(CLOSE, struct.pack("!H", 1001), mask=None), (1001, ""))


def test_a_flood_of_frames_that_are_no_audio_ends_the_connection() -> None:
    protocol = open_protocol()
    decoder = Decoder(protocol)
    for _ in range(2):
        list(decoder.receive(memoryview(frame(PING, b"") * MOST_ODD_FRAMES + frame(BINARY, audio(1)))))
        assert sent_close(protocol) is None
        decoder.odd_frames = 0  # a tick
    list(decoder.receive(memoryview(frame(PING, b"") * (MOST_ODD_FRAMES + 1))))
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1008
