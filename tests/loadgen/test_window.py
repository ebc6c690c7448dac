"""Which partials a percentile is over: those whose frame was due in the window, whenever they arrived."""

from hypothesis import given
from hypothesis import strategies as st

from loadgen.messages import Partial
from loadgen.samples import due_in_window, tabulate
from loadgen.schedule import Timing, due_s

TIMING = Timing(ramp_s=1.0, spread_s=0.0, warmup_s=1.0, measure_s=4.0)


def partial(oldest: int, newest: int) -> Partial:
    return Partial(oldest, newest, 0.0, 0, 0.0, 0, "now")


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.001, 3.0)), min_size=1, max_size=20),
)
def test_no_answer_that_is_owed_is_left_out_whatever_its_delay(
    start_s: float, answers: list[tuple[int, float]]
) -> None:
    """Each answer covers so many frames and comes so long after its newest was due."""
    rows, oldest = [], 1
    for frames, delay_s in answers:
        newest = oldest + frames - 1
        rows.append((0, due_s(start_s, newest) + delay_s, partial(oldest, newest)))
        oldest = newest + 1
    last = oldest - 1
    table = tabulate(rows, {0: start_s}, {0: last})
    for frame in ("oldest", "newest"):
        owed = [
            getattr(message, frame)
            for _, _, message in rows
            if TIMING.measures(due_s(start_s, getattr(message, frame)))
            and not (frame == "newest" and message.newest == last)
        ]
        assert due_in_window(table, frame, TIMING)[f"{frame}_seq"].tolist() == owed


def test_newest_and_oldest_have_a_window_each() -> None:
    """A partial over the window's beginning counts for its newest frame alone; one over its end for its oldest."""
    over_begin, over_end = partial(80, 120), partial(280, 320)
    table = tabulate([(0, 2.5, over_begin), (0, 6.5, over_end)], {0: 0.0}, {0: 400})
    assert due_in_window(table, "newest", TIMING)["newest_seq"].tolist() == [120]
    assert due_in_window(table, "oldest", TIMING)["oldest_seq"].tolist() == [280]


def test_a_last_frame_that_waits_for_a_tick_without_audio_is_no_gateways_latency() -> None:
    """Its partial counts by its oldest frame, so that a gateway which stands still at the end shows all the same."""
    in_stream, closing = partial(201, 250), partial(251, 300)
    table = tabulate([(0, 5.1, in_stream), (0, 6.9, closing)], {0: 0.0}, {0: 300})
    assert due_in_window(table, "newest", TIMING)["newest_seq"].tolist() == [250]
    assert due_in_window(table, "oldest", TIMING)["oldest_seq"].tolist() == [201, 251]
