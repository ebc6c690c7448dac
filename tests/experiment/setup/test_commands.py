"""Programs are bounded in time and take their children with them."""

import os
import sys
import time
from pathlib import Path

import pytest

from experiment.setup.commands import clean_environment, run
from experiment.setup.json_files import write_json
from experiment.setup.places import kept, locked


def test_it_returns_what_was_said_and_how_it_ended() -> None:
    finished = run(
        [sys.executable, "-c", "import sys; print('out'); print('error: bad', file=sys.stderr); sys.exit(3)"],
        timeout_s=10,
    )
    assert (finished.status, finished.stdout, finished.ok) == (3, "out\n", False)
    assert finished.why() == "exit status 3: error: bad"


def test_what_cannot_be_started_says_so() -> None:
    finished = run(["/no/such/program"], timeout_s=1)
    assert finished.status == 127
    assert "No such file" in finished.why()


def test_past_its_time_it_is_killed_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    told: list[float] = []
    began = time.monotonic()
    finished = run(
        ["sh", "-c", f"sleep 60 & echo $! > {mark}; wait"], timeout_s=0.5, tell=told.append, tell_every_s=0.1
    )
    assert time.monotonic() - began < 5
    assert finished.status is None
    assert finished.why().startswith("no end after")
    assert 2 <= len(told) <= 5
    stat = Path(f"/proc/{mark.read_text().strip()}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and " Z " not in stat.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not stat.exists() or " Z " in stat.read_text()


def test_output_goes_to_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("one", "two"):
        assert run(["sh", "-c", f"echo {word}; echo {word} >&2"], timeout_s=10, log=log).stdout == ""
    assert log.read_text() == "one\none\ntwo\ntwo\n"


def test_an_outer_make_and_an_active_environment_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAKEFLAGS", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "x")
    environment = clean_environment(MORE="1")
    assert not {"MAKEFLAGS", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONSAFEPATH"} & environment.keys()
    assert environment["MORE"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


def test_a_lock_waits_for_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    hold = (
        "import sys, time; from pathlib import Path; from experiment.setup.places import locked\n"
        "with locked(Path(sys.argv[1]), print): Path(sys.argv[2]).touch(); time.sleep(0.5); import os; os._exit(9)"
    )
    import subprocess

    held = tmp_path / "held"
    process = subprocess.Popen([sys.executable, "-c", hold, str(lock), str(held)], cwd=Path(__file__).parents[3])
    deadline = time.monotonic() + 10
    while not held.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    said: list[str] = []
    with locked(lock, said.append):
        pass
    assert len(said) == 1
    assert "waiting for another set-up" in said[0]
    assert process.wait(timeout=5) == 9


def test_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a" / "memory.json"
    assert kept(path) == {}
    write_json(path, {"a": 1})
    assert kept(path) == {"a": 1}
    path.write_text('{"a": ')
    assert kept(path) == {}
    path.write_text("[]")
    assert kept(path) == {}
