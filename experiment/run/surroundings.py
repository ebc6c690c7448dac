"""What held a point's roles from outside their groups while the load ran: quotas of groups above them, a hypervisor.
Read as each phase of the load begins. What makes a point INVALID, `faults` says; what is worth a word, `notes`.
"""

from collections.abc import Collection, Sequence
from typing import Any

from experiment.host import OuterQuota, steal_share, steal_ticks
from experiment.run.hygiene import notable_steal


class Surroundings:
    """Marked as each phase of the load begins ("ramp" to "verify"). A quota counts for all of the load, since what it
    held up early may be answered late; steal time for the measured window, like all that roles used."""

    def __init__(self, quotas: Sequence[OuterQuota], cpus: Collection[int]) -> None:
        """`cpus`: those of all roles together."""
        self._quotas = quotas
        self._cpus = cpus
        self._steal: dict[str, dict[int, tuple[int, int]] | None] = {}
        self._throttled: dict[str, list[tuple[int, int] | None]] = {}

    def mark(self, phase: str) -> None:
        """Once for each phase; a second time changes nothing."""
        if phase not in self._throttled:
            self._throttled[phase] = [quota.throttled() for quota in self._quotas]
            self._steal[phase] = steal_ticks(self._cpus)

    def outer_quotas(self) -> list[dict[str, Any]]:
        """Each with what it throttled from the beginning of the load to its end; None where that is not known."""
        unknown = [None] * len(self._quotas)
        first, last = (self._throttled.get(phase, unknown) for phase in ("ramp", "verify"))
        return [
            {"group": quota.group, "vcpus": quota.vcpus, **_between(before, after)}
            for quota, before, after in zip(self._quotas, first, last, strict=True)
        ]

    def faults(self) -> list[str]:
        """A sentence for each quota that throttled the roles, or of which nobody can tell."""
        said = []
        for found in self.outer_quotas():
            name = f"a quota that is not the run's ({found['vcpus']:g} vCPU, group {found['group']})"
            if found["throttled_periods"] is None:
                said.append(f"{name} may have throttled it: its cpu.stat could not be read")
            elif found["throttled_periods"]:
                ms = found["throttled_ms"]
                said.append(f"{name} throttled it in {found['throttled_periods']} periods, {ms:.0f} ms in all")
        return said

    def steal_share(self) -> dict[str, float] | None:
        """Of each CPU, the share of the measured window that a hypervisor took; None where it is not known."""
        return steal_share(self._steal.get("measure"), self._steal.get("drain"))

    def notes(self) -> list[str]:
        """A sentence where that is not little."""
        taken = notable_steal(self.steal_share() or {})
        return [f"the hypervisor took {taken} in the measured window"] if taken else []


def _between(before: tuple[int, int] | None, after: tuple[int, int] | None) -> dict[str, float | None]:
    if before is None or after is None:
        return {"throttled_periods": None, "throttled_ms": None}
    return {"throttled_periods": after[0] - before[0], "throttled_ms": (after[1] - before[1]) / 1000}
