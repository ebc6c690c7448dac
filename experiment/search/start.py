"""Where a ladder begins, and how far it may jump: the load that a cost at a smaller one lets expect. Pure."""

from experiment.ask import Ladder


def expected_rung(ladder: Ladder, cost_us: float, vcpus: float, share: float) -> int:
    """So many sessions as `share` of the vCPUs carry, vcpus × 10⁶ µs ÷ cost_us: at least the ladder's own start and at
    most its most.

    `cost_us`: of a session-second. At a small load it can be several times that at a large one, where fixed work is
    shared by more sessions: so it can say that a gateway is fast, and never that it is slow.
    """
    return max(ladder.start, min(ladder.most, round(share * vcpus * 1e6 / cost_us)))
