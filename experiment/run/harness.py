"""How many load workers and simulator processes a point takes, and on which CPUs: by need, as their costs are known.
Starts nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from experiment.ask import Harness, Plan
from experiment.host import HarnessLayout, deal, needed


@dataclass(frozen=True, slots=True)
class HarnessCosts:
    """CPU in µs per session-second."""

    loadgen_us: float
    simulator_us: float

    @classmethod
    def expected(cls, harness: Harness) -> Self:
        """Before anything was measured."""
        return cls(harness.loadgen_us, harness.simulator_us)

    def seen(self, summary: Mapping[str, Any]) -> "HarnessCosts":
        """As a point has them. Of one that was INVALID only what is more than before: who is behind works in larger
        heaps, which cost less, and can use no more than its CPU."""
        loadgen_us, simulator_us = (role_us(summary, role) for role in ("loadgen", "simulator"))
        if not loadgen_us or not simulator_us:
            return self
        if summary["status"] == "INVALID":
            return HarnessCosts(max(self.loadgen_us, loadgen_us), max(self.simulator_us, simulator_us))
        return HarnessCosts(loadgen_us, simulator_us)


def role_us(summary: Mapping[str, Any], role: str) -> float | None:
    """CPU of a role in a point's measured window, in µs per session-second; None where it was not measured."""
    window = summary["window"].get(role, {})
    cpu_us, wall_s = window.get("cpu_us"), window.get("wall_s")
    return cpu_us / (summary["sessions"] * wall_s) if cpu_us and wall_s else None


def harness_layout(plan: Plan, sessions: int, costs: HarnessCosts) -> HarnessLayout:
    """For so many sessions. What takes scripted behaviours is one simulator process; so is an external gateway's
    harness, which has no CPUs of its own."""
    order = () if plan.cpus is None else plan.cpus.order
    share = plan.config.harness.share
    load = needed(sessions, costs.loadgen_us, share)
    simulators = 1 if plan.scripted else needed(sessions, costs.simulator_us, share)
    return deal(order, load, simulators)
