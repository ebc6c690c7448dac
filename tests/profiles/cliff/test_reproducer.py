"""The reproducer runs, and finds nothing where there is nothing to find: a GIL build."""

import subprocess
import sys
import sysconfig

import pytest

from experiment.setup import CHECKOUT

FILE = CHECKOUT / "profiles" / "cliff" / "reproducer" / "lost_wakeup.py"


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="a free-threaded build may stall")
def test_a_gil_build_does_not_stall() -> None:
    command = [sys.executable, str(FILE), "--limit-s", "2.5", "--clients", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "an affected version stalls within" in done.stdout
    assert "no stall in" in done.stdout


def test_it_is_one_file_of_modest_length_and_needs_only_granian() -> None:
    source = FILE.read_text(encoding="utf-8")
    assert source.count("\n") < 180
    assert "from experiment" not in source
    assert "from profiles" not in source
