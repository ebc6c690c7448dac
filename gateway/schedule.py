"""When a session's buffer is flushed: tick k is due at start + phase + k × interval, k = 1, 2, … without drift."""


class FlushSchedule:
    """The due times of one connection's ticks. All times are seconds of the host's monotonic clock."""

    __slots__ = ("_first_s", "_interval_s", "_k", "next_due_s")

    def __init__(self, start_s: float, phase_ms: float, interval_ms: float) -> None:
        self._first_s = start_s + phase_ms / 1000
        self._interval_s = interval_ms / 1000
        self._k = 1
        self.next_due_s = self._first_s + self._interval_s

    def pass_due(self, now_s: float) -> float | None:
        """Pass over every tick due by `now_s`; missed ones are not made up.

        Returns:
            Lateness in ms, counted from the earliest tick passed; None if none was due yet.
        """
        earliest_s = self.next_due_s
        if now_s < earliest_s:
            return None
        k = self._k + 1
        next_s = self._first_s + k * self._interval_s
        if next_s <= now_s:
            k = max(k, int((now_s - self._first_s) / self._interval_s))
            while (next_s := self._first_s + k * self._interval_s) <= now_s:
                k += 1
        self._k = k
        self.next_due_s = next_s
        return (now_s - earliest_s) * 1000
