"""Cost of the session core, per frame and per batch, with pyperf. Runs on any build that has pyperf and nothing else.

`python -m experiment.bench.core -o FILE` writes pyperf's JSON; times are seconds of one call of what the name says.
"""

import time

from gateway import FRAME_BYTES, Infer, Session, SessionSettings

FRAMES = 50
"""Frames of one second."""
_START = '{"type":"start"}'
_FRAME = bytes(range(256)) * 2 + bytes(128)
_RUN = _FRAME * FRAMES
_ANSWER = (
    b'{"rms":2425.5023191083533,"zero_crossings":350,"checksum":1745339397,"samples":64000,'
    b'"transcript":"now","audio_bytes":32000}'
)
assert len(_FRAME) == FRAME_BYTES


def _started() -> Session:
    session = Session(SessionSettings(), 0.0)
    session.start(_START, 0.0)
    return session


def _serve(session: Session, now_s: float) -> None:
    (batch,) = session.tick(now_s)
    assert isinstance(batch, Infer)
    session.answered(200, _ANSWER, now_s)
    session.written()


def time_frames(loops: int) -> float:
    """One `frame()`; the buffer is emptied outside the clock before it reaches its bound."""
    session, elapsed_s, now_s = _started(), 0.0, 0.0
    frames = range(FRAMES)
    for _ in range(loops):
        begin = time.perf_counter()
        for _ in frames:
            session.frame(_FRAME, now_s)
        elapsed_s += time.perf_counter() - begin
        now_s += 1.0
        _serve(session, now_s)
    return elapsed_s


def time_batches(loops: int) -> float:
    """One second handed over as a run: `frames()`, `tick()`, `answered()`, `written()`."""
    session, now_s = _started(), 0.0
    begin = time.perf_counter()
    for _ in range(loops):
        session.frames(_RUN, now_s)
        now_s += 1.0
        _serve(session, now_s)
    return time.perf_counter() - begin


def time_session_seconds(loops: int) -> float:
    """One second frame by frame, then its batch. The frame is the caller's own: sockets give each thread its own."""
    session, now_s, frame = _started(), 0.0, bytes(bytearray(_FRAME))
    begin = time.perf_counter()
    for _ in range(loops):
        for _ in range(FRAMES):
            session.frame(frame, now_s)
        now_s += 1.0
        _serve(session, now_s)
    return time.perf_counter() - begin


def main() -> None:
    """Let pyperf run the three benchmarks in worker processes of its own."""
    import pyperf  # who only counts instructions has none

    runner = pyperf.Runner(program_args=("-m", "experiment.bench.core"))
    runner.bench_time_func("frame", time_frames, inner_loops=FRAMES)
    runner.bench_time_func("batch", time_batches)
    runner.bench_time_func("session-second", time_session_seconds)


if __name__ == "__main__":
    main()
