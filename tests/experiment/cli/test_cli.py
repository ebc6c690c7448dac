"""The command line as a person or make sees it: exit status and last line."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiment.setup import CHECKOUT


def lab(*words: str, cwd: Path = CHECKOUT) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "experiment", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, (done.stdout.splitlines() or [""])[-1], done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--variant", "nosuch"], "unknown variant 'nosuch'; known: gil"),
        (["--shape", "nosuch"], "unknown shape 'nosuch'; known: cpuset-1"),
        (["--sessions", "many"], "SESSIONS: expected"),
        (["--target", "nowhere"], "TARGET: expected ws://HOST:PORT"),
        (["--infer-port", "0"], "--infer-port"),
        (["--no-such-option"], "No such option"),
        (["conformance", "--variant", "nosuch"], "unknown variant"),
        (["publish", "nosuch"], "expected the folder of a run"),
        (["ladder", "--variant", "nosuch"], "unknown variant 'nosuch'; known: gil"),
        (["compare"], "VARIANTS: expected rows to compare, such as gil,mt; known: gil"),
        (["compare", "--variants", "gil,nosuch"], "unknown variant 'nosuch'; known: gil"),
        (["compare", "--variants", "gil", "--pythons", "3.9"], "PYTHONS: expected some of 3.13, 3.13t"),
        (["compare", "--variants", "gil", "--ladder", "nosuch"], "unknown ladder 'nosuch'; known: default, confirm"),
        (["compare", "--runs", "nosuch"], "expected the folder of a run"),
        (["results", "--run", "nosuch"], "expected the folder of a run"),
        (["--resume", "nosuch"], "RESUME: expected the folder of an interrupted run"),
        (["reproduce", "--timing", "nosuch"], "unknown timing 'nosuch'; known: full, quick"),
        (["bench", "--only", "nosuch"], "unknown benchmark nosuch; known: core"),
    ],
)
def test_bad_input_ends_with_status_2_and_what_was_expected(words: list[str], said: str) -> None:
    status, last, _ = lab(*words)
    assert status == 2
    assert last.startswith("EXIT 2 ")
    assert said in last


def test_help_names_every_option() -> None:
    done = subprocess.run([sys.executable, "-m", "experiment", "--help"], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0
    for option in ("VARIANT", "SHAPE", "TIMING", "SESSIONS", "TARGET", "HARNESS", "INFER_PORT", "RESULTS"):
        assert f"({option})" in done.stdout


def test_a_target_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    status, last, _ = lab("--target", "ws://127.0.0.1:9", "--results", str(tmp_path))
    assert status == 1
    assert last.startswith("EXIT 1 ")
    assert not list((tmp_path / ".running").glob("*.json"))
