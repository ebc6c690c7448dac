"""What looks on from outside is started with the few of the user's variables that a gateway gets, too."""

import os
from pathlib import Path

import pytest
import typer

import profiles.__main__ as command_line
from experiment.ask.config import load_config
from experiment.host import Run
from experiment.run import Display, ProbeError
from experiment.setup import Environment, Interpreter
from experiment.store import RunFolder
from profiles.cliff.run import hunt_turn, study_of
from profiles.forensics import capture
from profiles.profilers.kinds import _Children
from tests.experiment.invented import NOW
from tests.speaking import disturb, is_clean, speaker


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    disturb(monkeypatch)
    return speaker(tmp_path)


@pytest.mark.anyio
async def test_a_cell_of_the_cliff(tmp_path: Path, program: Path) -> None:
    cliff = study_of(load_config(), "cliff")
    cell = next(iter(cliff.cells.values()))
    folder = RunFolder.create(tmp_path, "cliff", NOW)
    with Display().stage("a cell", 1) as stage:
        async with Run(tmp_path) as run:
            with pytest.raises(ProbeError):
                await hunt_turn(run, cell, program, (cliff.clients, cliff.turn_s), folder, stage)
    said = (folder.path / "server.log").read_text()
    assert is_clean(said)
    assert "SPIN_US" in said


@pytest.mark.anyio
async def test_a_profiler(tmp_path: Path, program: Path) -> None:
    children = _Children()
    children.start([str(program)], tmp_path / "profiler.log")
    children.running[0][0].wait(20)
    await children.stop()
    assert is_clean((tmp_path / "profiler.log").read_text())


def test_forensics(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "sampler.py"
    script.write_text("import json, os; print(json.dumps(dict(os.environ)))")
    monkeypatch.setattr(capture, "SAMPLER", script)
    assert is_clean(capture.thread_stacks(os.getpid()))


def test_the_reproducer(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Interpreter("3.14t", str(program), "3.14.7", free_threaded=True, stand_in=False, source="made up")
    monkeypatch.setattr(command_line, "ensure", lambda *_, **__: Environment("granian-2.7.4", program, found))
    monkeypatch.setattr("signal.signal", lambda *_: None)  # not those of the tests' own process
    with pytest.raises(typer.Exit) as ended:
        command_line.reproduce()
    assert ended.value.exit_code == 0
    assert is_clean((tmp_path / "said.json").read_text())
