"""PASS, FAIL or INVALID from what one point measured. Pure: numbers in, a judgement out. PROTOCOL, "Verdict"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiment.ask import Harness, Slo
from experiment.terms import Gate, Status


@dataclass(frozen=True, slots=True)
class PointVerdict:
    """The judgement of one point."""

    status: Status
    gates: tuple[Gate, ...]
    """What the gateway is judged by."""
    harness: tuple[Gate, ...]
    """What the harness itself is judged by."""
    reasons: tuple[str, ...]
    """Why it is not a PASS; empty for one."""


def judge(
    summary: Mapping[str, Any] | None,
    simulator: Mapping[str, Any] | None,
    slo: Slo,
    limits: Harness,
    ended_early: Sequence[str] = (),
) -> PointVerdict:
    """Judge one point.

    Args:
        summary: the load generator's `summary.json`; None if it wrote none.
        simulator: the simulator's `GET /stats` after the run; None if it did not answer.
        ended_early: a sentence for the gateway or simulator whose main process ended while the load ran; such a point
            never passes, even where what it left behind went on serving.
    """
    if summary is None:
        reasons = ("the load generator ended without a summary: see its log",)
        return PointVerdict("INVALID", (), (), reasons)
    harness = (
        Gate("send_lateness_p99_ms", limits.send_lateness_p99_ms, _number(summary, "send_lateness_ms", "p99")),
        Gate(
            "simulator_overshoot_p99_ms",
            limits.simulator_overshoot_p99_ms,
            None if simulator is None else _number(simulator, "overshoot_ms", "p99"),
        ),
    )
    gates = (
        Gate("newest_p50_ms", slo.newest_p50_ms, _number(summary, "newest_ms", "p50")),
        Gate("newest_p95_ms", slo.newest_p95_ms, _number(summary, "newest_ms", "p95")),
        Gate("oldest_p50_ms", slo.oldest_p50_ms, _number(summary, "oldest_ms", "p50")),
        Gate("oldest_p95_ms", slo.oldest_p95_ms, _number(summary, "oldest_ms", "p95")),
        Gate("failure_ratio", slo.failure_ratio, failure_ratio(summary)),
    )
    behind = [f"harness: {gate}" for gate in harness if gate.measured is not None and not gate.passed]
    behind += [f"the load generator ran out of {what}" for what in _exhausted(summary.get("harness"))]
    behind += [f"the simulator ran out of {what}" for what in _exhausted(simulator)]
    if behind:
        return PointVerdict("INVALID", gates, harness, tuple(behind))
    # A harness figure that is absent cannot show that the harness kept up; it is no proof that it did not either.
    missed = (*(str(gate) for gate in (*gates, *harness) if not gate.passed), *ended_early)
    return PointVerdict("FAIL" if missed else "PASS", gates, harness, missed)


def failure_ratio(summary: Mapping[str, Any]) -> float | None:
    """Failures ÷ (partials + failures) over the whole run; None without a single partial."""
    partials, failures = summary.get("partials"), summary.get("failures_total")
    if not partials or failures is None:
        return None
    return float(failures / (partials + failures))


def _exhausted(facts: Mapping[str, Any] | None) -> list[str]:
    facts = facts or {}
    return [what for what in ("descriptors", "memory") if facts.get(f"{what}_exhausted")]


def _number(tables: Mapping[str, Any], table: str, key: str) -> float | None:
    value = (tables.get(table) or {}).get(key)
    return None if value is None else float(value)
