"""A client's bytes after its handshake, as Hypothesis strategies: audio, whatever else may come, and what must not."""

import struct

from hypothesis import strategies as st

from gateway import FRAME_BYTES
from tests.conformance.wire import frame

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
