"""The load generator's bench runs as its users run it: worker and bare loop in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores")
def test_worker_and_bare_loop_are_measured_in_turn() -> None:
    command = [sys.executable, "-m", "loadgen.bench", "--sessions", "20", "--seconds", "1", "--turns", "1"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (cells,) = re.findall(r"│ +1 │ +(\d+) │ +(\d+) │ +([\d.]+) │.*│ +(\d+) │", done.stdout)
    worker_us, bare_us, _, failures = cells
    assert int(worker_us) > 100
    assert int(bare_us) > 100
    assert failures == "0"
