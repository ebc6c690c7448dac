"""Counts of sessions that are threads: each has a tally that it alone changes, and all together are a page's rows.

`+=` on a number that threads share loses counts, on the GIL build, too. So nothing is shared but the list of tallies,
behind a lock that is taken when a session begins and when it ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from gateway import Admission, Tally
from variants.shared.metrics import Page, add, counted


class ThreadTallies(Page):
    """A tally for each session that lives, and one of all that have ended."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._ended = Tally()
        self._living: set[Tally] = set()

    def admits(self, admission: Admission) -> bool:
        """Whether one more is let in; who is not is counted."""
        if admission == Admission():
            return True
        with self._lock:
            everybody = Tally()
            for tally in (self._ended, *self._living):
                add(everybody, tally)
            everybody.refused = 0
            is_admitted = admission.admits(everybody)
            self._ended.refused += everybody.refused
            return is_admitted

    @contextmanager
    def of_thread(self) -> Iterator[Tally]:
        """Of a session that has just been let in, in its thread."""
        tally = Tally()
        with self._lock:
            self._living.add(tally)
        try:
            with counted(tally):
                yield tally
        finally:
            with self._lock:
                self._living.discard(tally)
                add(self._ended, tally)

    @property
    def loops(self) -> int:
        return 0

    def rows(self) -> list[Tally]:
        with self._lock:
            return [self._ended, *self._living]
