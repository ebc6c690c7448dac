"""What a fault did to those who had no part in it. Pure: samples, readings and times in, values out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from loadgen.percentiles import nearest_rank
from profiles.points import Answer

LATE_MS = 350.0
"""The contract's limit of the newest frame's p95."""
SETTLE_S = 3.0
"""How long after a fault what it did may still be seen."""


def effect(
    began_s: float, ended_s: float, answers: Sequence[Answer], memory: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """Of one fault, from its beginning to `SETTLE_S` after its end: how many answers came, their p50, p95 and longest
    latency, `error` messages, and how many seconds after its end passed until a second's p95 was within the contract's
    limit for good (`recovered_s`).

    Args:
        answers: of the load, in order of arrival.
        memory: readings of the gateway's, (s of the same clock, bytes).
    """
    seen = [answer for answer in answers if began_s <= answer.arrival_s <= ended_s + SETTLE_S]
    latencies = [answer.newest_ms for answer in seen if not answer.is_error]
    after_end = defaultdict[int, list[float]](list)
    for answer in seen:
        if not answer.is_error and answer.arrival_s > ended_s:
            after_end[int(answer.arrival_s - ended_s)].append(answer.newest_ms)
    late = [second for second, values in after_end.items() if nearest_rank(values, 95) > LATE_MS]
    p50_ms, p95_ms = (nearest_rank(latencies, percent) if latencies else None for percent in (50, 95))
    before = [size for at_s, size in memory if at_s < began_s]
    after = [size for at_s, size in memory if at_s <= ended_s + SETTLE_S]
    return {
        "answers": len(latencies),
        "p50_ms": p50_ms,
        "p95_ms": p95_ms,
        "max_ms": max(latencies, default=None),
        "errors": len(seen) - len(latencies),
        "recovered_s": max(late, default=-1) + 1,
        "memory_before_bytes": before[-1] if before else None,
        "memory_after_bytes": after[-1] if after else None,
    }


def said(effect: Mapping[str, Any]) -> str:
    """One fault's effect in a few words."""
    p95_ms, max_ms = effect["p95_ms"], effect["max_ms"]
    words = "no answer" if p95_ms is None else f"p95 {p95_ms:.0f}, max {max_ms:.0f} ms"
    words += f", {effect['errors']} errors" if effect["errors"] else ""
    return words + (f", late for {effect['recovered_s']} s after" if effect["recovered_s"] else "")
