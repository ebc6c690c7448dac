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
    gateway_faults: Sequence[str] = (),
    harness_faults: Sequence[str] = (),
) -> PointVerdict:
    """Judge one point: whose fault it is comes before what was measured.

    Args:
        summary: the load generator's `summary.json`; None if it wrote none.
        simulator: the simulator's `GET /stats` after the run; None if it did not answer.
        gateway_faults: a sentence for each way in which the gateway ended while the load ran. Such a point is FAIL,
            whatever the harness did, and even where what it left behind went on serving.
        harness_faults: the same of simulator and load generator, and of roles that lost the group that pins them or
            were throttled by a quota that is not the run's. Such a point is INVALID, whatever was measured.
    """
    harness = (
        Gate("send_lateness_p99_ms", limits.send_lateness_p99_ms, _number(summary, "send_lateness_ms", "p99")),
        Gate(
            "simulator_overshoot_p99_ms",
            limits.simulator_overshoot_p99_ms,
            _number(simulator, "overshoot_ms", "p99"),
        ),
    )
    gates = (
        Gate("newest_p50_ms", slo.newest_p50_ms, _number(summary, "newest_ms", "p50")),
        Gate("newest_p95_ms", slo.newest_p95_ms, _number(summary, "newest_ms", "p95")),
        Gate("oldest_p50_ms", slo.oldest_p50_ms, _number(summary, "oldest_ms", "p50")),
        Gate("oldest_p95_ms", slo.oldest_p95_ms, _number(summary, "oldest_ms", "p95")),
        Gate("failure_ratio", slo.failure_ratio, None if summary is None else failure_ratio(summary)),
    )
    if gateway_faults:
        return PointVerdict("FAIL", gates, harness, tuple(gateway_faults))
    behind = list(harness_faults)
    if summary is None:
        behind.append("the load generator ended without a summary: see its log")
    if simulator is None:
        behind.append("the simulator was silent when asked for its figures: see its log")
    behind += [f"harness: {gate}" for gate in harness if gate.measured is not None and not gate.passed]
    behind += [f"the load generator ran out of {what}" for what in _exhausted((summary or {}).get("harness"))]
    behind += [f"the simulator ran out of {what}" for what in _exhausted(simulator)]
    if behind:
        return PointVerdict("INVALID", gates, harness, tuple(behind))
    # Where no frame was sent and no request came, the gateway let nobody in: that is no proof that the harness kept up.
    missed = tuple(str(gate) for gate in (*gates, *harness) if not gate.passed)
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


def _number(tables: Mapping[str, Any] | None, table: str, key: str) -> float | None:
    value = ((tables or {}).get(table) or {}).get(key)
    return None if value is None else float(value)
