"""The fallback without cgroups does what it can, and says what it cannot."""

import os
from pathlib import Path

import anyio
import pytest

from experiment.host import AffinityGroup, CgroupHost, Limits, Role, ShapeRefused, make_group
from experiment.host.procfs import ProcessId
from tests.experiment.host.conftest import first_lines, script

pytestmark = pytest.mark.anyio


@pytest.fixture
def group(no_cgroups: CgroupHost) -> AffinityGroup:
    cpus = frozenset({max(os.sched_getaffinity(0))})
    made = make_group(no_cgroups, ProcessId.current(), "gateway", Limits(cpus, memory_bytes=1 << 30))
    assert isinstance(made, AffinityGroup)
    return made


async def test_children_inherit_the_cpus_and_their_time_is_counted(tmp_path: Path, group: AffinityGroup) -> None:
    code = """
        import os, subprocess, sys, time
        print(sorted(os.sched_getaffinity(0)), flush=True)
        busy = "import time\\nend = time.process_time() + 0.3\\nwhile time.process_time() < end: pass"
        subprocess.Popen([sys.executable, "-c", busy + "\\ntime.sleep(300)"])
        time.sleep(300)
    """
    async with Role(script(tmp_path, code, pipe=True), group) as role:
        with anyio.fail_after(20):
            assert await first_lines(role, 1) == [str(sorted(group.limits.cpus or ()))]
            while True:
                assert len(group.pids()) <= 2
                usage = group.usage()
                assert usage.cpu_us is not None
                if usage.cpu_us >= 300_000:
                    break
                await anyio.sleep(0.05)
        await role.stop(grace_s=0)
    last = group.usage()
    assert last.cpu_us is not None
    assert last.cpu_us >= usage.cpu_us  # what the dead had used stays counted
    assert last.memory_bytes is None
    assert last.throttled_us is None


def test_a_quota_is_refused_with_the_reason(no_cgroups: CgroupHost) -> None:
    with pytest.raises(ShapeRefused, match=r"0\.5 vCPU needs a cgroup\. .*taken away for this test"):
        make_group(no_cgroups, ProcessId.current(), "gateway", Limits(quota_vcpus=0.5))


def test_what_is_not_kept_is_said(group: AffinityGroup) -> None:
    text = " ".join(group.notes)
    assert "taken away for this test" in text
    assert "memory limit of 1073741824 bytes is not kept" in text
    assert "is lost" in text
