"""Splits one thread's CPU time between phases, by wrapping functions. What the wrapping itself costs is taken off."""

import time
from collections.abc import Callable, Sequence
from typing import Any

_CALIBRATION_CALLS = 20_000


class Meter:
    """A phase is charged from the entry of a wrapped function to its return, without what others were charged inside.

    Args:
        phases: their names; the first is charged for all that is not wrapped.
    """

    def __init__(self, phases: Sequence[str]) -> None:
        self._phases = tuple(phases)
        self._spent_ns = [0] * len(phases)
        self._entered = [0] * len(phases)
        self._left_for_others = [0] * len(phases)
        self._now = 0
        self._since_ns = time.perf_counter_ns()

    def reset(self) -> None:
        """Begin to count here."""
        for counts in (self._spent_ns, self._entered, self._left_for_others):
            counts[:] = [0] * len(counts)
        self._since_ns = time.perf_counter_ns()

    def wrap(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, charged to a phase by the clock: for what does not wait."""
        mine, clock = self._phases.index(phase), time.perf_counter_ns
        spent, entered, left = self._spent_ns, self._entered, self._left_for_others

        def metered(*args: Any, **kwargs: Any) -> Any:
            outer, now_ns = self._now, clock()
            spent[outer] += now_ns - self._since_ns
            left[outer] += 1
            entered[mine] += 1
            self._now, self._since_ns = mine, now_ns
            try:
                return function(*args, **kwargs)
            finally:
                now_ns = clock()
                spent[mine] += now_ns - self._since_ns
                self._now, self._since_ns = outer, now_ns

        return metered

    def wrap_waiting(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, charged with the thread's CPU time: for what may wait."""
        mine, clock = self._phases.index(phase), time.perf_counter_ns
        spent = self._spent_ns

        def metered(*args: Any) -> Any:
            spent[self._now] += clock() - self._since_ns
            before_ns = time.thread_time_ns()
            try:
                return function(*args)
            finally:
                spent[mine] += time.thread_time_ns() - before_ns
                self._since_ns = clock()

        return metered

    def spent_us(self) -> dict[str, float]:
        """µs by phase since the reset."""
        inside_ns, outside_ns = _own_cost_ns()
        return {
            name: (spent - inside_ns * entered - outside_ns * left) / 1000
            for name, spent, entered, left in zip(
                self._phases, self._spent_ns, self._entered, self._left_for_others, strict=True
            )
        }


def _own_cost_ns() -> tuple[float, float]:
    """What one wrapped call adds to its own phase, and to the phase around it."""
    meter = Meter(("around", "inside"))
    wrapped, bare = meter.wrap("inside", _nothing), _nothing
    begin_ns = time.perf_counter_ns()
    for _ in range(_CALIBRATION_CALLS):
        bare(None)
    bare_ns = time.perf_counter_ns() - begin_ns
    meter.reset()
    for _ in range(_CALIBRATION_CALLS):
        wrapped(None)
    around_ns, inside_ns = meter._spent_ns
    # The bare call's own time is spent inside, the bare loop's around: what is over is the meter's.
    loop_ns = bare_ns / 2
    return (inside_ns - loop_ns) / _CALIBRATION_CALLS, (around_ns - loop_ns) / _CALIBRATION_CALLS


def _nothing(_: None) -> None:
    pass
