"""Programs over recorded input do their work, whatever the clock says; and callgrind counts the same twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.bench.instructions import NotCounted, collected, count_one, per_session_second
from experiment.bench.recorded import PROGRAMS, SESSIONS
from experiment.setup import CHECKOUT

SAID = "==12== Events    : Ir\n==12== Collected : 123456789\n==12==\n"


def test_callgrinds_last_words_are_read() -> None:
    assert collected(SAID) == 123_456_789
    with pytest.raises(NotCounted, match="expected callgrind to say"):
        collected("==12== nothing of it")


def test_what_both_runs_have_in_common_is_left_out() -> None:
    assert per_session_second((1_000_000, 1_400_000), (100, 300)) == 2000.0


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_session_second_is_answered(program: str) -> None:
    command = [sys.executable, "-m", "experiment.bench.recorded", program, "--seconds", "2"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["session_seconds"] == 2 * SESSIONS
    assert 2 * SESSIONS <= told["answered"] <= 6 * SESSIONS


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
def test_the_core_takes_as_many_instructions_again() -> None:
    valgrind = str(shutil.which("valgrind"))
    _, *counts = (count_one(valgrind, Path(sys.executable), "core", 1)[0] for _ in range(3))  # the first compiles
    assert counts[1] == pytest.approx(counts[0], rel=0.01)
