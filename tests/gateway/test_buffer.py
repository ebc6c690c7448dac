"""The bounded buffer against a naive list: numbers, ages, bytes and what the bound pushes out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.buffer import FrameBuffer
from tests.gateway.wire import frame, run

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 25)),
        st.tuples(st.just("frame"), st.just(1)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("dropped"), st.just(0)),
    ),
    max_size=60,
)


class Naive:
    """What a list of single frames would do."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.next_seq = 1
        self.held: list[tuple[int, float]] = []
        self.dropped: list[tuple[int, float]] = []

    def append(self, frames: int, now_s: float) -> None:
        for _ in range(frames):
            self.held.append((self.next_seq, now_s))
            self.next_seq += 1
        while len(self.held) > self.limit:
            self.dropped.append(self.held.pop(0))


@settings(deadline=None)
@given(limit=st.integers(1, 30), steps=STEPS, kind=st.sampled_from([bytes, bytearray, memoryview]))
def test_any_order_of_runs_frames_takes_and_drops(limit: int, steps: list[Step], kind: type) -> None:
    buffer, naive = FrameBuffer(limit), Naive(limit)
    reported: list[int] = []
    for step, (what, frames) in enumerate(steps):
        now_s = float(step)
        if what in ("run", "frame"):
            buffer.append(kind(run(naive.next_seq, frames)), frames, now_s)
            naive.append(frames, now_s)
        elif what == "dropped" or naive.dropped:  # PROTOCOL's order: drops are taken before the frames behind them
            dropped = buffer.take_dropped()
            if not naive.dropped:
                assert dropped is None
                continue
            (oldest_seq, oldest_s), (newest_seq, newest_s) = naive.dropped[0], naive.dropped[-1]
            assert dropped == (oldest_seq, newest_seq - oldest_seq + 1, oldest_s, newest_s)
            reported += [seq for seq, _ in naive.dropped]
            naive.dropped = []
        elif naive.held:
            chunks, taken = buffer.take()
            assert taken == (naive.held[0][0], len(naive.held), naive.held[0][1], naive.held[-1][1])
            assert b"".join(chunks) == b"".join(frame(seq) for seq, _ in naive.held)
            reported += [seq for seq, _ in naive.held]
            naive.held = []
        assert buffer.frames == len(naive.held) <= limit
        assert buffer.next_seq == naive.next_seq
    assert reported == list(range(1, len(reported) + 1))


def test_the_bound_is_exact() -> None:
    buffer = FrameBuffer(5)
    buffer.append(run(1, 5), 5, 0.0)
    assert buffer.take_dropped() is None
    buffer.append(frame(6), 1, 1.0)
    assert buffer.take_dropped() == (1, 1, 0.0, 0.0)
    assert buffer.take_dropped() is None
    assert b"".join(buffer.take()[0]) == run(2, 5)


def test_a_run_longer_than_the_bound_leaves_its_newest_frames() -> None:
    buffer = FrameBuffer(3)
    buffer.append(run(1, 2), 2, 1.0)
    buffer.append(run(3, 10), 10, 2.0)
    assert buffer.take_dropped() == (1, 9, 1.0, 2.0)
    chunks, taken = buffer.take()
    assert (taken.oldest_seq, taken.frames, b"".join(chunks)) == (10, 3, run(10, 3))


def test_a_run_that_was_read_at_once_is_not_copied() -> None:
    buffer, audio = FrameBuffer(100), run(1, 50)
    buffer.append(audio, 50, 0.0)
    (chunk,), _ = buffer.take()
    assert chunk is audio


def test_numbers_go_on_after_a_take() -> None:
    buffer = FrameBuffer(10)
    buffer.append(frame(1), 1, 0.0)
    buffer.take()
    buffer.append(frame(2), 1, 0.5)
    assert buffer.take()[1] == (2, 1, 0.5, 0.5)


@pytest.mark.parametrize("limit", [1, 2, 1500])
def test_memory_stays_bounded(limit: int) -> None:
    buffer = FrameBuffer(limit)
    for seq in range(1, 3 * limit + 1):
        buffer.append(frame(seq), 1, 0.0)
    assert sum(map(len, buffer.take()[0])) == limit * 640
