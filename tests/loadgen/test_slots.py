"""The compiled sending loop on real sockets: every frame whole and in turn, and what a socket does not take told."""

import errno
import socket
from collections.abc import Iterator

import pytest

from loadgen.frames import WIRE_BYTES, WireFrames
from loadgen.slots import HELD, Slot

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def frames() -> WireFrames:
    return WireFrames(1)


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    made = [socket.socketpair() for _ in range(20)]
    for ours, theirs in made:
        ours.setblocking(False)
        theirs.setblocking(False)
    yield made
    for ours, theirs in made:
        ours.close()
        theirs.close()


def test_each_session_gets_its_own_frames_from_the_round_in_which_it_joins(
    frames: WireFrames, pairs: list[Pair]
) -> None:
    slot: Slot[int] = Slot()
    for round_, (session, (ours, _)) in enumerate(zip((0, 7, 19999, 25000), pairs, strict=False)):
        slot.release(slot.add(session, session), ours.fileno())
        assert slot.send(frames) == []
        slot.rounds += 1
        assert slot.rounds == round_ + 1
    for _ in range(130):
        assert slot.send(frames) == []
        slot.rounds += 1
    for place, (session, (_, theirs)) in enumerate(zip((0, 7, 19999, 25000), pairs, strict=False)):
        got = theirs.recv(1 << 20)
        assert got == b"".join(frames.frame_of(session, frame) for frame in range(1, 135 - place))


def test_more_sessions_than_the_columns_begin_with_and_a_place_is_taken_over(
    frames: WireFrames, pairs: list[Pair]
) -> None:
    slot: Slot[int] = Slot()
    for session, (ours, _) in enumerate(pairs):
        slot.release(slot.add(session, session), ours.fileno())
    assert slot.remove(3) == 19
    assert slot.remove(18) is None
    assert slot.connections == [0, 1, 2, 19, *range(4, 18)]
    assert slot.send(frames) == []
    for session, (_, theirs) in enumerate(pairs):
        if session in (3, 18):
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
        else:
            assert theirs.recv(1 << 16) == frames.frame_of(session, 1)


def test_what_is_not_taken_is_told_with_its_frame(frames: WireFrames, pairs: list[Pair]) -> None:
    slot: Slot[str] = Slot()
    (full, far_full), (gone, far_gone), (fine, far_fine), (short, far_short) = pairs[:4]
    for name, sock in (("full", full), ("held", None), ("gone", gone), ("fine", fine), ("short", short)):
        place = slot.add(name, session=5)
        if sock is not None:
            slot.release(place, sock.fileno())
    while True:
        try:
            full.send(bytes(4096))
        except BlockingIOError:
            break
    far_gone.close()
    assert far_full.getblocking() is False
    told = {odd.connection: odd for odd in slot.send(frames)}
    assert sorted(told) == ["full", "gone", "held"]
    assert [told[name].taken for name in ("full", "gone", "held")] == [-errno.EAGAIN, -errno.EPIPE, HELD]
    assert [told[name].is_full for name in ("full", "gone", "held")] == [True, False, False]
    assert told["held"].is_held
    assert {odd.frame for odd in told.values()} == {frames.frame_of(5, 1)}
    assert far_fine.recv(1 << 16) == far_short.recv(1 << 16) == frames.frame_of(5, 1)


def test_a_frame_that_only_half_fits_is_told_with_the_bytes_taken(frames: WireFrames) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.socket() as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            ours.connect(listener.getsockname())
            ours.setblocking(False)
            theirs, _ = listener.accept()
            with theirs:
                slot: Slot[str] = Slot()
                slot.release(slot.add("it", session=5), ours.fileno())
                sent = 0
                while not (told := slot.send(frames)):
                    slot.rounds += 1
                    sent += WIRE_BYTES
                (odd,) = told
                assert odd.is_full
                assert odd.frame == frames.frame_of(5, slot.rounds + 1)
                sent += max(0, odd.taken)
                got = 0
                while got < sent:
                    got += len(theirs.recv(1 << 16))
                theirs.setblocking(False)
                with pytest.raises(BlockingIOError):
                    theirs.recv(1)
