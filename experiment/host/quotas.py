"""CPU quotas of groups above a run's own: a container's, a parent group's. They stop every role at once, and no group
of the run counts it. Only looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiment.host.procfs import read_bytes, read_table


@dataclass(frozen=True)
class OuterQuota:
    """`group` is a path inside its hierarchy, "/" for the one that is mounted (in a container: the container's own)."""

    path: Path
    group: str
    vcpus: float

    def throttled(self) -> tuple[int, int] | None:
        """Periods in which the group ran out of its quota, and for how many µs, since it was made. The group's own
        `cpu.stat`, without those below it. None where that cannot be read."""
        stat = read_table(f"{self.path}/cpu.stat")
        if "nr_throttled" not in stat:
            return None
        return stat["nr_throttled"], stat.get("throttled_usec", stat.get("throttled_time", 0) // 1000)


def outer_quotas(group: Path, mount: Path) -> Iterator[OuterQuota]:
    """Of a group and each above it, up to the root of what is mounted; of v1 (`cpu.cfs_*`) and v2 (`cpu.max`) alike."""
    for path in (group, *group.parents):
        if (vcpus := _vcpus(path)) is not None:
            yield OuterQuota(path, f"/{'' if path == mount else path.relative_to(mount)}", vcpus)
        if path == mount:
            return


def _vcpus(path: Path) -> float | None:
    words = (read_bytes(f"{path}/cpu.max") or b"").split()
    if not words:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in names for word in (read_bytes(f"{path}/{name}") or b"").split()]
    if len(words) != 2 or words[0] in (b"max", b"-1"):
        return None
    quota_us, period_us = map(int, words)
    return quota_us / period_us
