"""The reproducer runs, and finds nothing where there is nothing to find: a GIL build."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

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


def test_a_server_that_does_not_start_gives_no_verdict(tmp_path: Path) -> None:
    """Status 3: 1 would say "stalled". Granian is there by name, and breaks as it is started."""
    (tmp_path / "granian.py").write_text("raise ImportError('built for another Python')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(FILE)], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "NO VERDICT" in done.stdout
    assert "refused; server status 3" in done.stdout


def test_it_is_one_file_of_modest_length_and_needs_only_granian() -> None:
    source = FILE.read_text(encoding="utf-8")
    assert source.count("\n") < 220
    assert "from experiment" not in source
    assert "from profiles" not in source
