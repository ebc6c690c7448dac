"""The kept inputs, replayed on every Python; and some new ones, guided by coverage, where atheris has a wheel."""

import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import corpus
from tests.fuzz.__main__ import ROOT, main
from tests.fuzz.targets import TARGETS
from tests.interpreters import python_of

RUNS = {"decoder": 2500, "answers": 12_000, "streams": 1500, "start": 42_000, "prediction": 42_000}
"""Together 100 000. `python -m tests.fuzz` takes as many as one likes."""


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_is_taken_as_it_should_be(target: str) -> None:
    inputs = corpus.read(target)
    assert inputs
    for data in inputs:
        TARGETS[target](data)


def test_the_corpus_is_small_and_says_each_input_once() -> None:
    assert {path.stem for path in corpus.FOLDER.iterdir()} == set(TARGETS)
    for target in TARGETS:
        assert (corpus.FOLDER / f"{target}.txt").stat().st_size <= corpus.MOST_BYTES
        assert len(set(corpus.read(target))) == len(corpus.read(target))


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="atheris has wheels for x86-64 Linux alone"
)
@pytest.mark.parametrize("target", TARGETS)
def test_new_inputs_break_nothing(target: str) -> None:
    python = python_of("fuzz", "3.14", or_older=True)
    command: list[str | Path] = [python, "-m", "tests.fuzz", target, str(RUNS[target])]
    ended = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
    assert "Done" in ended.stderr


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="there is atheris here")
def test_without_atheris_fuzzing_says_how_to_have_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["start", "1"]) == 2
    assert "experiment.setup fuzz" in capsys.readouterr().err


def test_what_is_kept_stays_and_the_shortest_is_kept_first(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path_factory.mktemp("kept") / "corpus")
    assert corpus.keep("start", [b"long" * 9]) == 1
    monkeypatch.setattr(corpus, "MOST_BYTES", 70)
    assert corpus.keep("start", [b"long" * 9, b"longer" * 9, b"short"]) == 2
    assert corpus.read("start") == [b"long" * 9, b"short"]
