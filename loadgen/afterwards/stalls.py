"""Which sessions stood still while the others went on (PROTOCOL, section 3, "Stalled").

Pure, and computed after the run, over all workers' samples together. No socket or clock belongs here.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from loadgen.ledger import SessionLedger, Stall
from loadgen.percentiles import nearest_rank
from loadgen.samples import Table
from loadgen.schedule import due_s

STALL_S = 3.0
OTHERS_P95_LIMIT_MS = 1000.0


def find_stalls(ledgers: Iterable[SessionLedger], samples: Table, stall_s: float = STALL_S) -> dict[int, Stall]:
    """Each stalled session's first stall. `samples` are in order of arrival (as `samples.merge` returns them).

    A session stands still from its last progress (a message that covers frames), or from the due time of its first
    uncovered frame where that is later. It stalls `stall_s` after that if no progress has come and newest-frame p95
    over all other sessions' partials whose newest frame was due in those seconds is under 1 s, whenever they came: one
    that comes much later did not go on. A session's closing partial says nothing of that: its newest frame waits for a
    tick. With no such partial nobody went on, and it is no stall. `recovered` is False only where a stall lasts until
    the session was no longer watched.
    """
    partials = samples[samples["is_partial"] & ~samples["is_closing"]]
    partials = partials[np.argsort(partials["newest_due_s"], kind="stable")]
    of_session: dict[int, Table] = {}
    if len(samples):
        in_order = samples[np.argsort(samples["session"], kind="stable")]
        sessions, firsts = np.unique(in_order["session"], return_index=True)
        of_session = dict(zip(sessions.tolist(), np.split(in_order, firsts[1:]), strict=True))

    def others_went_on(session: int, since_s: float) -> bool:
        low, high = np.searchsorted(partials["newest_due_s"], (since_s, since_s + stall_s), side="right")
        span = partials[low:high]
        others_ms = span["newest_ms"][span["session"] != session]
        return bool(len(others_ms)) and nearest_rank(others_ms, 95) < OTHERS_P95_LIMIT_MS

    stalls: dict[int, Stall] = {}
    for ledger in ledgers:
        if ledger.start_s is None or ledger.watched_until_s is None:
            continue
        own = of_session.get(ledger.session, samples[:0])
        # Moments of progress, each with the newest frame covered by then; the last one is the end of watching.
        steps = [(ledger.start_s, 0)]
        steps += zip(own["arrival_s"].tolist(), own["newest_seq"].tolist(), strict=True)
        steps.append((ledger.watched_until_s, -1))
        for (last_s, covered), (next_s, newest) in pairwise(steps):
            if covered >= ledger.due:
                continue
            still_s = max(last_s, due_s(ledger.start_s, covered + 1))
            if next_s - still_s < stall_s or not others_went_on(ledger.session, still_s):
                continue
            first = stalls.get(ledger.session)
            at_s = still_s + stall_s if first is None else first.at_s
            stalls[ledger.session] = Stall(ledger.session, at_s, recovered=newest >= 0)
    return stalls
