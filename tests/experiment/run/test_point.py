"""What of a point's surroundings makes it INVALID."""

from experiment.host import AffinityGroup, Limits
from experiment.host.procfs import ProcessId
from experiment.run.point import lost_groups


def test_a_role_that_lost_its_group_is_named_with_the_reason() -> None:
    lost = AffinityGroup(ProcessId.current(), "gateway", Limits(frozenset({0})), "a cgroup could not be made: EBUSY")
    (said,) = lost_groups(True, [lost])
    assert said.startswith("gateway lost its group: ")
    assert "EBUSY" in said
    assert lost_groups(False, [lost]) == []
