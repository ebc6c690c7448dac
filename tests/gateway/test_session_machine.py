"""Any order of verbs: the session beside a naive model of PROTOCOL's rules, and beside itself fed another way.

All times are multiples of 1/64 s, so that sums of them are exact and a tick is due at the same instant in both.
"""

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway import FRAME_BYTES, SessionSettings, connection_reset, inference_timeout, pool_timeout
from tests.gateway.wire import FakeWire, frame, run

FAILURES = [pool_timeout(), inference_timeout(), connection_reset("reset")]
SETTINGS = SessionSettings(buffer_seconds=0.4, outbox_messages=2)  # 20 frames
BOUND = 20
STEPS_S = st.integers(0, 160).map(lambda n: n / 64)

Held = list[tuple[int, float]]
"""Frames as (number, when they were taken)."""


class SessionMachine(RuleBasedStateMachine):
    """The model holds single frames in lists, and a due time that it steps one interval at a time."""

    @initialize(start_s=st.integers(0, 1000), phase=st.integers(0, 7))
    def begin(self, start_s: int, phase: int) -> None:
        self.now_s = float(start_s)
        self.wire = FakeWire(SETTINGS, phase_ms=phase * 125.0, start_s=self.now_s)
        self.due_s = self.now_s + phase * 0.125 + 1.0
        self.next_seq = 1
        self.held: Held = []
        self.dropped: Held = []
        self.batch: Held = []
        self.lateness_ms = 0.0
        self.sent_s = 0.0
        self.covered = 0

    def pass_due(self) -> float | None:
        if self.now_s < self.due_s:
            return None
        lateness_ms = (self.now_s - self.due_s) * 1000
        while self.due_s <= self.now_s:
            self.due_s += 1.0
        return lateness_ms

    def hold(self, frames: int) -> None:
        for _ in range(frames):
            self.held.append((self.next_seq, self.now_s))
            self.next_seq += 1
        while len(self.held) > BOUND:
            self.dropped.append(self.held.pop(0))

    def covers(self, message: dict[str, Any] | None, frames: Held, lateness_ms: float) -> None:
        """The message is about exactly these frames, and they follow what was covered before."""
        assert message is not None
        assert message["oldest_frame_seq"] == frames[0][0] == self.covered + 1
        assert message["newest_frame_seq"] == frames[-1][0]
        assert message["flush_lateness_ms"] == round(lateness_ms, 3)
        if message["type"] == "error":
            assert message["oldest_age_ms"] == round((self.now_s - frames[0][1]) * 1000, 3)
            assert message["newest_age_ms"] == round((self.now_s - frames[-1][1]) * 1000, 3)
            assert message["gateway_buffer_frames"] == len(self.held)
        self.covered = frames[-1][0]

    @rule(step_s=STEPS_S)
    def wait(self, step_s: float) -> None:
        self.now_s += step_s

    @rule()
    def one_frame(self) -> None:
        assert self.wire.session.frame(frame(self.next_seq), self.now_s) is None
        self.hold(1)

    @rule(frames=st.integers(1, 30))
    def one_run(self, frames: int) -> None:
        self.wire.session.frames(run(self.next_seq, frames), self.now_s)
        self.hold(frames)

    @rule()
    def tick(self) -> None:
        waiting, before = self.wire.waiting, len(self.wire.messages)
        lateness_ms = self.pass_due()
        done = self.wire.tick(self.now_s)
        if lateness_ms is None or self.batch or waiting >= 2 or not self.held:
            assert done == []
            return
        assert done == (["overflow", "infer"] if self.dropped else ["infer"])
        if self.dropped:
            (overflow,) = self.wire.messages[before:]
            self.covers(overflow, self.dropped, lateness_ms)
            assert (overflow["stage"], overflow["retryable"]) == ("websocket_receive", True)
            self.dropped = []
        self.batch, self.held = self.held, []
        self.lateness_ms, self.sent_s = lateness_ms, self.now_s
        assert self.wire.batches[-1] == b"".join(frame(seq) for seq, _ in self.batch)

    def landed(self) -> Held:
        self.pass_due()
        batch, self.batch = self.batch, []
        return batch

    @precondition(lambda self: self.batch)
    @rule()
    def answer(self) -> None:
        batch = self.landed()
        partial = self.wire.answer(self.now_s)
        self.covers(partial, batch, self.lateness_ms)
        assert partial is not None
        assert partial["type"] == "partial"

    @precondition(lambda self: self.batch)
    @rule(outcome=st.sampled_from([*FAILURES, 429, 500, 404, b"garbage"]))
    def fail(self, outcome: Any) -> None:
        batch = self.landed()
        if isinstance(outcome, int):
            error = self.wire.answer(self.now_s, status=outcome)
        elif isinstance(outcome, bytes):
            error = self.wire.answer(self.now_s, body=outcome)
        else:
            error = self.wire.fail(outcome, self.now_s)
        self.covers(error, batch, self.lateness_ms)
        assert error is not None
        assert error["type"] == "error"
        assert error["inference_elapsed_ms"] == round((self.now_s - self.sent_s) * 1000, 3)
        assert error["inflight_gateway_batches"] == 1

    @precondition(lambda self: self.wire.waiting)
    @rule()
    def write(self) -> None:
        self.wire.write()

    @invariant()
    def session_and_model_agree(self) -> None:
        session = self.wire.session
        assert session.in_flight == bool(self.batch)
        assert session.buffered_frames == len(self.held) <= BOUND
        assert session.next_due_s == self.due_s
        assert self.wire.waiting <= 3  # the bound of 2, or 1 and then an overflow, and the answer of the same tick


SessionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestSessionMachine = SessionMachine.TestCase


@dataclass(frozen=True)
class Step:
    """What happens at one instant: frames arrive, then perhaps a tick, an outcome, a write."""

    wait_s: float
    frames: int
    does: str


STEPS = st.lists(
    st.builds(Step, STEPS_S, st.integers(0, 12), st.sampled_from(["", "tick", "tick", "answer", "fail", "write"])),
    max_size=80,
)


def outcome_of(steps: list[Step], feeding: str, *, ticks_in_flight: bool) -> tuple[list[dict[str, Any]], list[bytes]]:
    """All messages and requests of a session that is fed one of three ways."""
    wire, now_s, seq = FakeWire(SETTINGS, phase_ms=125.0), 0.0, 1
    for step in steps:
        now_s += step.wait_s
        if step.frames and feeding == "one by one":
            wire.feed(seq, step.frames, now_s)
        elif step.frames and feeding == "as a run":
            wire.session.frames(run(seq, step.frames), now_s)
        elif step.frames:  # a run, and its last frame by itself
            if step.frames > 1:
                wire.session.frames(memoryview(run(seq, step.frames))[:-FRAME_BYTES], now_s)
            wire.feed(seq + step.frames - 1, 1, now_s)
        seq += step.frames
        if step.does == "tick" and (ticks_in_flight or wire.flight is None):
            wire.tick(now_s)
        elif step.does == "answer" and wire.flight is not None:
            wire.answer(now_s)
        elif step.does == "fail" and wire.flight is not None:
            wire.fail(inference_timeout(), now_s)
        elif step.does == "write" and wire.waiting:
            wire.write()
    return wire.messages, wire.batches


@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_however_frames_are_handed_over_the_output_is_the_same(steps: list[Step]) -> None:
    one_by_one = outcome_of(steps, "one by one", ticks_in_flight=True)
    assert outcome_of(steps, "as a run", ticks_in_flight=True) == one_by_one
    assert outcome_of(steps, "run and tail", ticks_in_flight=True) == one_by_one


@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_ticks_during_a_flight_may_be_called_or_left_out(steps: list[Step]) -> None:
    assert outcome_of(steps, "as a run", ticks_in_flight=True) == outcome_of(steps, "as a run", ticks_in_flight=False)
