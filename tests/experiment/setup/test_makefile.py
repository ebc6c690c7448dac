"""The verbs: what they hand over, what they say without a usable Python, and what is nowhere in the files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.setup.commands import clean_environment
from experiment.setup.places import Places
from experiment.setup.survey import survey

from .conftest import HERE, Program

ROOT = Path(__file__).parents[3]
OLD = "[ \"$1\" = --version ] && echo 'Python 3.8.10'; exit 1"
# Passes for a good Python and prints what it was asked to run.
ECHO = '[ "$1" = -c ] && exit 0; [ "$1" = -m ] && for word; do printf "<%s>" "$word"; done; echo'

VERBS = [
    *("help", "experiment", "ladder", "compare", "reproduce", "cliff", "results", "report", "notebooks", "conformance"),
    *("test", "check", "bench", "profile", "doctor", "lock", "clean"),
]
VARIABLES = ["VARIANT", "SHAPE", "TIMING", "SESSIONS", "TARGET", "HARNESS", "INFER_PORT", "PROFILER", "RESULTS"]
OTHERS = ["VARIANTS", "ROUNDS", "LADDER", "RUNS", "RUN", "RESUME", "DRY_RUN", "PRUNE"]


@pytest.fixture
def only_these(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH with make and what a shell needs, and no Python but those a test puts there."""
    for name in ("make", "sh", "sed", "head", "env"):
        found = shutil.which(name)
        assert found is not None, f"{name} is needed to run this test"
        (bin_folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(bin_folder))
    return bin_folder


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    ours = {"PYTHON", "PYTEST_ARGS", *VARIABLES, *OTHERS}
    environment = {key: value for key, value in clean_environment().items() if key not in ours}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)


def test_help_is_the_default_and_lists_every_verb_and_variable(only_these: Path) -> None:
    shown = make()
    assert shown.returncode == 0
    assert make("help").stdout == shown.stdout
    for name in VERBS + VARIABLES + OTHERS + ["PYTHON", "PYTEST_ARGS"]:
        (line,) = re.findall(rf"^  {name} +(\S.+)$", shown.stdout, flags=re.MULTILINE)
        assert len(line) > 10
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert phony is not None
    assert phony[1].split() == VERBS


def test_a_python_too_old_is_named_with_three_ways_out(only_these: Path, program: Program) -> None:
    program("python3", OLD)
    ended = make("experiment")
    assert ended.returncode == 2
    assert "CPython >= 3.11 is needed" in ended.stderr
    assert f"Python 3.8.10 at {only_these}/python3" in ended.stderr
    assert re.findall(r"^  (\d)\. ", ended.stderr, flags=re.MULTILINE) == ["1", "2", "3"]
    last = ended.stdout.splitlines()[-1]
    assert re.fullmatch(r"EXIT 1 no CPython >= 3\.11 to start with .*", last)


def test_no_python_at_all(only_these: Path) -> None:
    ended = make("test")
    assert "nothing of that name on PATH" in ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("EXIT 1 ")


def test_a_newer_one_on_path_takes_the_place_of_an_old_python3(only_these: Path, program: Program) -> None:
    program("python3", OLD)
    program("python3.12", ECHO)
    ended = make("bench")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "<-m><experiment.setup><test><--><-m><experiment><bench>\n"


def test_one_that_was_named_is_not_replaced(only_these: Path, program: Program) -> None:
    program("python3.12", ECHO)
    old = program("chosen", OLD)
    ended = make("bench", f"PYTHON={old}")
    assert ended.returncode == 2
    assert f"{old} is: Python 3.8.10" in ended.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "handed"),
    [
        (["experiment"], "harness -- -m experiment"),
        (
            ["experiment", "VARIANT=gil", "SESSIONS=200,300"],
            "harness -- -m experiment --variant gil --sessions 200,300",
        ),
        (
            ["experiment", *(f"{name}={name.lower()}" for name in VARIABLES)],
            "harness -- -m experiment --variant variant --shape shape --target target --harness harness "
            "--infer-port infer_port --sessions sessions --timing timing --results results",
        ),
        (["ladder", "SHAPE=quota-1", "DRY_RUN=1"], "harness -- -m experiment ladder --shape quota-1 --dry-run"),
        (["ladder", "DRY_RUN=0", "RESUME=results/x"], "harness -- -m experiment ladder --resume results/x"),
        (
            ["compare", "VARIANTS=gil,mt", "SESSIONS=50", "ROUNDS=2", "LADDER=no", "TIMING=smoke"],
            "harness -- -m experiment compare --variants gil,mt --sessions 50 --rounds 2 --ladder no --timing smoke",
        ),
        (["compare", "RUNS=results/a,results/b"], "harness -- -m experiment compare --runs results/a,results/b"),
        (["reproduce", "TIMING=quick"], "harness -- -m experiment reproduce --timing quick"),
        (["results", "RUN=results/a"], "harness -- -m experiment results --run results/a"),
        (["results", "PRUNE=30"], "harness -- -m experiment results --prune 30"),
        (["notebooks", "RUN=results/a"], "notebooks -- -m experiment notebooks --run results/a"),
        (
            ["conformance", "TARGET=ws://127.0.0.1:1/ws"],
            "harness -- -m experiment conformance --target ws://127.0.0.1:1/ws",
        ),
        (
            ["conformance", "VARIANT=gil", "INFER_PORT=9001", "SHAPE=x"],
            "harness -- -m experiment conformance --variant gil --infer-port 9001",
        ),
        (["doctor"], "harness --survey-on-failure -- -m experiment doctor"),
        (["lock"], "--lock"),
    ],
)
def test_variables_become_options_only_when_set(
    arguments: list[str], handed: str, only_these: Path, program: Program
) -> None:
    program("python3", ECHO)
    ended = make(*arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "".join(f"<{word}>" for word in ["-m", "experiment.setup", *handed.split()]) + "\n"


def test_test_checks_first_and_passes_arguments_on(only_these: Path, program: Program) -> None:
    program("python3", ECHO)
    said = make("test", "PYTEST_ARGS=-k 'two words'").stdout.splitlines()
    assert [line.split("><")[5].strip(">") for line in said] == ["ruff", "ruff", "mypy", "pytest"]
    assert said[-1].endswith("<-m><pytest><-k><two words>")


def test_ci_runs_exactly_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "exec make test </dev/null"


def test_no_address_in_any_file_of_set_up() -> None:
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "requirements").glob("*.txt")]
    files += [path for path in (ROOT / "experiment" / "setup").iterdir() if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert not re.search(r"\w+://[\w.]+|--(index|find)-", path.read_text().replace("ws://host:port", "")), path


def test_an_unknown_environment_ends_with_an_exit_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "experiment.setup", "nonsense"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1].startswith("EXIT 1 unknown environment 'nonsense'; there are ")


def test_set_up_needs_nothing_but_the_standard_library() -> None:
    code = "import sys; import experiment.setup, experiment.setup.__main__; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    top = {name.partition(".")[0] for name in shown.stdout.split()}
    assert top - {"experiment"} <= {*sys.stdlib_module_names, "__main__"}


def test_the_survey_finds_the_running_python_and_starts_nothing_over_the_network(places: Places) -> None:
    running, *rest = survey((HERE,), places=places)
    assert (running.state, running.what) == ("ok", f"CPython {HERE}")
    assert running.found.startswith(f"{HERE}.")
    assert [finding.what for finding in rest] == ["uv", "cc", "make", "headers"]
    missing, *_ = survey(("3.99t",), places=places)
    assert missing.state == "note"
    assert "uv python install 3.99t" in missing.mend
