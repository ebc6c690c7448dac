"""The audio of PROTOCOL, and its wire frames as a WebSocket server reads them."""

import ctypes
import struct

import pytest
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from loadgen.frames import WIRE_BYTES, WireFrames, audio_at, offset_of


def audio_by_the_formula(session: int, frame: int) -> bytes:
    samples = (((frame * 320 + session + k) * 17) % 20000 - 10000 for k in range(320))
    return struct.pack("<320h", *samples)


@pytest.fixture(scope="module")
def wire() -> WireFrames:
    return WireFrames(1)


@pytest.mark.parametrize(("session", "frame"), [(0, 1), (1199, 1), (0, 62), (7, 63), (19999, 4300), (25000, 100000)])
def test_a_wire_frame_carries_the_formulas_audio(wire: WireFrames, session: int, frame: int) -> None:
    data = wire.frame_of(session, frame)
    assert len(data) == WIRE_BYTES
    reader = ServerProtocol(state=1)  # type: ignore[arg-type]  # State.OPEN: no handshake is needed to read frames
    reader.receive_data(data)
    (event,) = reader.events_received()
    assert isinstance(event, Frame)
    assert event.opcode is Opcode.BINARY
    assert bytes(event.data) == audio_by_the_formula(session, frame)
    assert audio_at(offset_of(session, frame), 1) == audio_by_the_formula(session, frame)


def test_a_run_of_frames_is_one_slice() -> None:
    joined = b"".join(audio_by_the_formula(3, frame) for frame in range(40, 111))
    assert audio_at(offset_of(3, 40), 71) == joined


def test_a_session_walks_in_a_circle(wire: WireFrames) -> None:
    for frame in (1, 2, 125, 126, 251, 1000):
        assert wire.frame_of(11, frame) == wire.frame_of(11, frame + 125)
    assert wire.frame_of(11, 1) != wire.frame_of(11, 2)


def test_the_table_in_memory_is_what_the_compiled_loop_reads(wire: WireFrames) -> None:
    for offset in (0, 331, 19999):
        assert ctypes.string_at(wire.address + offset * WIRE_BYTES, WIRE_BYTES) == wire.at(offset)


def test_masks_differ_and_repeat_with_the_seed(wire: WireFrames) -> None:
    masks = {wire.frame_of(session, 1)[4:8] for session in range(2000)}
    assert len(masks) > 1990
    assert WireFrames(1).frame_of(5, 5) == wire.frame_of(5, 5)
    assert WireFrames(2).frame_of(5, 5)[4:8] != wire.frame_of(5, 5)[4:8]
