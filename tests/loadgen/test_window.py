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
    table = tabulate(rows, {0: start_s})
    for frame in ("oldest", "newest"):
        owed = [
            message
            for _, _, message in rows
            if TIMING.measures(due_s(start_s, message.newest if frame == "newest" else message.oldest))
        ]
        counted = due_in_window(table, frame, TIMING)
        assert counted[f"{frame}_seq"].tolist() == [getattr(message, frame) for message in owed]


def test_newest_and_oldest_have_a_window_each() -> None:
    """A partial over the window's beginning counts for its newest frame alone; one over its end for its oldest."""
    over_begin, over_end = partial(80, 120), partial(280, 320)
    table = tabulate([(0, 2.5, over_begin), (0, 6.5, over_end)], {0: 0.0})
    assert due_in_window(table, "newest", TIMING)["newest_seq"].tolist() == [120]
    assert due_in_window(table, "oldest", TIMING)["oldest_seq"].tolist() == [280]
