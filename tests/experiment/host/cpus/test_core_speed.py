"""A core's speed is found in a process of its own."""

import os
import sys
from pathlib import Path

from experiment.host import core_speed


def test_a_core_has_a_speed_after_a_pause() -> None:
    found = core_speed(Path(sys.executable), max(os.sched_getaffinity(0)))
    assert found is not None
    assert found["busy_us"] > 0
    assert found["after_pause_us"] > 0
