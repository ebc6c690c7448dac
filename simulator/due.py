"""When a prediction is computed: once its answer is due, together with those that are due next.

Pure: bodies and times in, predictions out. An arrival costs next to nothing this way, so that a burst of requests (a
gateway that comes back from a standstill sends hundreds at once) does not delay the answers that are due meanwhile.
"""

import heapq
from dataclasses import dataclass

from simulator.stub import LANES, Body, Prediction, check, predict_together


@dataclass(slots=True, eq=False)
class Pending:
    """One accepted body and, once it has been computed, its prediction."""

    body: Body | None
    passes: int
    prediction: Prediction | None = None


class DuePredictions:
    """Predictions that are owed, in order of their due times."""

    def __init__(self) -> None:
        # By due time, then by number: a heap of tuples compares in C, and never looks at the third.
        self._waiting: list[tuple[float, int, Pending]] = []
        self._added = 0

    def add(self, body: Body, passes: int, due_s: float) -> Pending:
        """Take a body whose answer is due at `due_s` (any clock). Raises OddBody, as the stub does."""
        check(body)
        self._added += 1
        pending = Pending(body, passes)
        heapq.heappush(self._waiting, (due_s, self._added, pending))
        return pending

    def result(self, pending: Pending) -> Prediction:
        """The prediction of what was added: computed here and now, with those due next, if it was not yet."""
        while pending.prediction is None:
            _, _, first = heapq.heappop(self._waiting)
            together = [first]
            while self._waiting and len(together) < LANES and self._waiting[0][2].passes == first.passes:
                together.append(heapq.heappop(self._waiting)[2])
            bodies = [each.body for each in together if each.body is not None]
            for each, prediction in zip(together, predict_together(bodies, first.passes), strict=True):
                each.prediction, each.body = prediction, None
        return pending.prediction
