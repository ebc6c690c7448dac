"""The decoder against a plain websockets parse of the same bytes: any traffic, cut anywhere, gives the same result."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway import FRAME_BYTES
from tests.conformance.rules.framing import CONTINUATION
from tests.conformance.wire import frame
from tests.fuzz.framing import drained, open_protocol, plain, sent_close
from tests.variants.traffic import BINARY, CLOSE, PING, TEXT, audio, traffic
from variants.drain.client import BURST_BYTES
from variants.drain.decoder import MOST_ODD_FRAMES, WIRE_BYTES, Decoder, Scratch, text_frame


@settings(max_examples=150, deadline=None)
@given(
    data=traffic(),
    places=st.lists(st.floats(0, 1), max_size=8),
    on_frames=st.booleans(),
    leaves=st.lists(st.booleans(), min_size=1, max_size=4),
    closes=st.booleans(),
)
def test_any_traffic_cut_anywhere_is_what_a_plain_parse_makes_of_it(
    data: bytes, places: list[float], on_frames: bool, leaves: list[bool], closes: bool
) -> None:
    step = WIRE_BYTES if on_frames else 1
    cuts = [int(place * len(data)) // step * step for place in places]
    assert drained(data, cuts, leaves, closes=closes) == plain(data, closes=closes)


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


def test_what_is_written_out_is_what_it_stands_for() -> None:
    assert WIRE_BYTES == 8 + FRAME_BYTES
    assert BURST_BYTES == 4 * 50 * WIRE_BYTES


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


def test_the_scratch_memory_knows_regular_frames_and_unmasks_them() -> None:
    scratch = Scratch(4 * WIRE_BYTES + 100)
    regular = [frame(BINARY, audio(seed)) for seed in range(4)]
    scratch.memory[: 4 * WIRE_BYTES] = b"".join(regular)
    for frames in range(1, 5):
        assert scratch.holds_regular(frames)
        assert scratch.unmasked(frames).tobytes() == b"".join(audio(seed) for seed in range(frames))
    kept = scratch.unmasked(4)
    scratch.memory[:] = bytes(len(scratch.memory))
    assert kept.tobytes() == b"".join(audio(seed) for seed in range(4))
    for odd in (frame(BINARY, audio(1), reserved=1), frame(TEXT, audio(1)), frame(BINARY, audio(1), mask=None)):
        for place in range(4):
            pieces = list(regular)
            pieces[place] = odd.ljust(WIRE_BYTES, b"\0")
            scratch.memory[: 4 * WIRE_BYTES] = b"".join(pieces)
            assert [scratch.holds_regular(frames) for frames in range(1, 5)] == [at <= place for at in range(1, 5)]


def test_a_text_frame_is_what_websockets_writes() -> None:
    for text in ("", "x" * 125, "ä" * 63, "x" * 65535, "x" * 65536):
        assert text_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def test_a_close_between_fragments_is_answered_with_its_own_code() -> None:
    data = frame(TEXT, b"begun", fin=False) + frame(CLOSE, struct.pack("!H", 1001)) + frame(CONTINUATION, b"not ended")
    for cuts in ([], list(range(len(data)))):
        found = drained(data, cuts, [False])
        assert (found.messages, found.replies) == ([], frame(CLOSE, struct.pack("!H", 1001), mask=None))


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
