"""The manifest's facts."""

import getpass
import json
import os
import socket

from experiment.host import facts, usable_cpus
from experiment.host.machine import kernel_hz


def test_facts_are_json_and_name_nobody() -> None:
    found = facts()
    text = json.dumps(found)
    assert found["kernel"] == os.uname().release
    assert found["memory_bytes"] > 1 << 28
    assert found["cpus_usable"] == sorted(os.sched_getaffinity(0)) == sorted(usable_cpus())
    assert found["ephemeral_ports"][0] < found["ephemeral_ports"][1]
    assert found["open_files_soft"] > 0
    words = set(text.replace('"', " ").replace(",", " ").split())
    assert not words & {socket.gethostname(), getpass.getuser()} - {"linux", "Linux"}


def test_the_tick_rate_is_the_kernels_own_or_unknown() -> None:
    assert kernel_hz() in (None, 100, 250, 300, 1000)
