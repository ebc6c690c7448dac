"""What one event loop's connections and sessions have done, and do now: counts, and who may be let in by them.

A tally holds nothing but numbers, and is changed by its event loop's thread alone: so a count costs its owner no lock,
also where others may read it (`variants.shared.metrics`).
"""

from collections.abc import MutableSequence
from dataclasses import dataclass
from typing import get_args

from gateway.actions import Close
from gateway.failures import Kind, Stage

LATENESS_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
INFERENCE_BOUNDS_MS = (20, 50, 75, 100, 150, 200, 350, 500, 1000, 2000)
"""Upper bounds of the buckets; one more holds what is above all of them."""
ERRORS = [(stage, kind) for stage in get_args(Stage) for kind in get_args(Kind)]
"""What an `error` message may say; its place here is its place in `Tally.errors`."""
_PLACE = {error: place for place, error in enumerate(ERRORS)}

FULL = Close(1013, "the gateway is full, try again later")
"""To a client that is let in no more, where its upgrade cannot be refused with 503."""


class Tally:
    """Counts since the event loop began, and (`connections`, `backlog_frames`, `inferences`) how many there are now."""

    def __init__(self) -> None:
        self.connections = 0
        """WebSockets that were let in and have not ended."""
        self.connected = 0
        self.refused = 0
        """Clients that were not let in, because the gateway was full."""
        self.frames = 0
        """That ticks found, dropped ones among them."""
        self.overflow_frames = 0
        """Of those, dropped."""
        self.skipped_in_flight = 0
        """Ticks that sent nothing, because a request was in flight;"""
        self.skipped_outbox = 0
        """because too many messages waited to be written;"""
        self.skipped_empty = 0
        """because no frame had come."""
        self.backlog_frames = 0
        """That ticks left in the buffers."""
        self.exceptions = 0
        """That nobody expected, and that ended one connection."""
        self.lateness: MutableSequence[int] = [0] * (len(LATENESS_BOUNDS_MS) + 1)
        """Flushes, by how late they were."""
        self.lateness_ms = 0.0
        """The sum of that."""
        self.inference: MutableSequence[int] = [0] * (len(INFERENCE_BOUNDS_MS) + 1)
        """Their outcomes, by how long they took."""
        self.inference_ms = 0.0
        """The sum of that."""
        self.abandoned = 0
        """Flushes whose connection ended before their outcome came."""
        self.errors: MutableSequence[int] = [0] * len(ERRORS)
        """`error` messages, by what they say."""

    # Once a session and second, so these are spelt out where they happen, in `Session`: frames, lateness, inference.

    @property
    def flushes(self) -> int:
        """Batches handed over."""
        return sum(self.lateness)

    @property
    def inferences(self) -> int:
        """Requests in flight."""
        return sum(self.lateness) - sum(self.inference) - self.abandoned

    def enter(self) -> None:
        """A WebSocket was let in."""
        self.connections += 1
        self.connected += 1

    def leave(self) -> None:
        """It has ended."""
        self.connections -= 1

    def erred(self, stage: Stage, kind: Kind) -> None:
        """An `error` message was made."""
        self.errors[_PLACE[stage, kind]] += 1


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom an event loop lets in: None is no limit. Who was let in stays, whatever happens."""

    most_connections: int | None = None
    most_inferences: int | None = None

    def admits(self, tally: Tally) -> bool:
        """Whether there is room for one more; who is not let in is counted."""
        is_full = (self.most_connections is not None and tally.connections >= self.most_connections) or (
            self.most_inferences is not None and tally.inferences >= self.most_inferences
        )
        if is_full:
            tally.refused += 1
        return not is_full
