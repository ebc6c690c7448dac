"""Loops side by side serve what they are sent, share what they are said to share, and are counted each."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiment.bench import touched
from experiment.setup import CHECKOUT
from tests.interpreters import python_of

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it takes two cores")
CPUS = ",".join(map(str, sorted(os.sched_getaffinity(0))[-2:]))


def run(python: str | Path, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [str(python), "-m", "experiment.bench.side_by_side", "--cpus", CPUS, "--window-s", "2", *options]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def measured(python: str | Path, *options: str, **variables: str) -> dict[str, Any]:
    done = run(python, *options, **variables)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith('{"gil"'))  # a server has lines of its own
    found: dict[str, Any] = json.loads(line)
    return found


@two_cores
@pytest.mark.parametrize(
    "options",
    [
        ("--host", "picows_loops", "--transport", "h2"),
        ("--host", "picows_loops", "--transport", "h2", "--own", "gateway,client,anyio"),
        ("--host", "picows_loops", "--loop", "uvloop"),
        ("--host", "drain"),
        ("--host", "drain", "--own", "gateway"),
    ],
    ids=lambda options: " ".join(options[1:]),
)
def test_each_loop_answers_its_own_sessions_once_a_second(options: tuple[str, ...]) -> None:
    found = measured(sys.executable, *options, "--sessions", "20")
    assert found["gil"]
    assert len(found["loops"]) == 2
    for loop in found["loops"]:
        assert 30 <= loop["session_seconds"] <= 50  # 20 sessions, two seconds; a busy machine answers late
        assert loop["cpu_us"] > 0


@two_cores
def test_threads_of_a_free_threaded_build_serve_without_the_gil_or_with_it() -> None:
    python = python_of("drain", "3.14t")
    for options, variables in (((), {}), (("--gil",), {"PYTHON_GIL": "1"})):
        found = measured(python, "--host", "drain", "--sessions", "20", *options, **variables)
        assert found["gil"] is bool(options)
        assert [30 <= loop["session_seconds"] <= 50 for loop in found["loops"]] == [True, True]
    wrong = run(python, "--host", "core", PYTHON_GIL="1")
    assert wrong.returncode == 1
    assert "expected the GIL off" in wrong.stderr


@two_cores
def test_granian_s_process_is_looked_at_as_a_whole() -> None:
    python = python_of("granian", "3.14t")
    found = measured(python, "--host", "granian", "--loop", "uvloop", "--transport", "h2", "--sessions", "20")
    (process,) = found["loops"]
    assert not found["gil"]
    assert 60 <= process["session_seconds"] <= 100  # two clients' 20 sessions
    assert process["cpu_us"] > 0


@two_cores
def test_the_core_runs_as_fast_as_it_goes() -> None:
    found = measured(sys.executable, "--host", "core")
    assert min(loop["session_seconds"] for loop in found["loops"]) > 1000


def test_what_is_wrong_is_told() -> None:
    unknown = run(sys.executable, "--host", "core", "--own", "gatway")
    assert unknown.returncode == 2
    assert "--own: expected some of gateway, client, anyio; got gatway" in unknown.stderr
    late = run(sys.executable, "--host", "core", "--begin-s", "1")
    assert late.returncode == 1
    assert "expected to serve before the window begins" in late.stderr


def test_objects_are_named_by_where_they_are_held() -> None:
    found = touched.described({id(touched._MOST), id(touched._what), id(json.JSONDecoder.decode)})
    assert found[id(touched._what)]["what"] == "experiment.bench.touched._what"
    assert found[id(touched._MOST)] == {"type": "int", "what": "65536", "where": "experiment.bench.touched._MOST"}
    assert found[id(json.JSONDecoder.decode)]["where"] == "json.decoder.JSONDecoder.decode"


def test_an_ordinary_build_does_not_count() -> None:
    with pytest.raises(RuntimeError, match="expected a CPython that counts"):
        touched.counts()
