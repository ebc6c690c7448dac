"""The verbs: what they hand over, what they say without a usable Python, and what is nowhere in the files."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from experiment.cli.app import app as experiment_app
from experiment.setup.commands import clean_environment
from experiment.setup.places import Places
from experiment.setup.survey import survey
from profiles.__main__ import app as profiles_app

from .conftest import HERE, Program

ROOT = Path(__file__).parents[3]
OLD = "[ \"$1\" = --version ] && echo 'Python 3.8.10'; exit 1"
# Passes for a good Python and prints what it was asked to run.
ECHO = '[ "$1" = -c ] && exit 0; [ "$1" = -m ] && for word; do printf "<%s>" "$word"; done; echo'

GROUPS = {
    "measure": ["experiment", "ladder", "compare", "reproduce", "bench", "conformance"],
    "explain": ["profile", "soak", "faults", "overload", "cliff", "survey", "bisect", "collector", "sharing"],
    "read": ["results", "report", "notebooks", "help"],
    "keep": ["test", "test-all", "check", "doctor", "lock", "clean"],
}
VERBS = [verb for verbs in GROUPS.values() for verb in verbs]
VARIABLES = [
    "VARIANT",
    "SHAPE",
    "TIMING",
    "SESSIONS",
    "TARGET",
    "HARNESS",
    "RECEIVE",
    "INFER_PORT",
    "PROFILER",
    "RESULTS",
]
OTHERS = [
    "VARIANTS",
    "ROUNDS",
    "LADDER",
    "START",
    "AA",
    "RUNS",
    "RUN",
    "RESUME",
    "DRY_RUN",
    "PRUNE",
    "KEEP_ENV",
    "SETS",
    "MINUTES",
    "INSTRUCTIONS",
    "PYTHONS",
    "WITH",
    "PACKAGE",
    "FROM",
    "TO",
    "CELL",
    "COST",
    "BEFORE",
]
SET_UP = ["PYTHON", "PYTEST_ARGS", "LAB_RETRY"]


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
    return make_in({}, *arguments)


def make_in(more: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """With `more` in the environment."""
    ours = {*VARIABLES, *OTHERS, *SET_UP}
    environment = {key: value for key, value in clean_environment().items() if key not in ours} | more
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)


def test_help_is_the_default_and_lists_every_verb_and_variable(only_these: Path) -> None:
    shown = make()
    assert shown.returncode == 0
    assert make("help").stdout == shown.stdout
    for name in VERBS + VARIABLES + OTHERS + SET_UP:
        (line,) = re.findall(rf"^  {name} +(\S.+)$", shown.stdout, flags=re.MULTILINE)
        assert len(line) > 10
    phony = re.search(r"^\.PHONY: (.*)$", make("-pq", "help").stdout, flags=re.MULTILINE)
    assert phony is not None
    assert phony[1].split() == VERBS
    assert all(len(line) <= 100 for line in shown.stdout.splitlines())


def verbs_and_takers() -> tuple[list[str], dict[str, list[str]]]:
    """The lines of help that show verbs and their groups, and who takes each variable."""
    _, *lines = make("help").stdout.splitlines()
    at = lines.index("variables, each with the verbs that take it")
    takers: list[tuple[str, list[str]]] = []
    for line in lines[at + 1 :]:
        if line.startswith("      "):
            takers[-1][1].extend(line.split())
        else:
            takers.append((line.split()[0], []))
    return lines[:at], dict(takers)


def test_help_groups_the_verbs_and_says_who_takes_each_variable() -> None:
    lines, takers = verbs_and_takers()
    assert [line.split()[0] for line in lines] == [word for group, verbs in GROUPS.items() for word in (group, *verbs)]
    assert [line for line in lines if not line.startswith(" ")] == list(GROUPS)
    assert set(takers) == {*VARIABLES, *OTHERS, *SET_UP}
    assert takers["PYTHON"] == takers["LAB_RETRY"] == ["every", "verb"]
    assert takers["PYTEST_ARGS"] == ["test"]


@pytest.mark.parametrize(
    "verb", [verb for verb in VERBS if verb not in {"help", "test", "test-all", "check", "lock", "clean"}]
)
def test_a_verb_takes_exactly_what_its_command_has_options_for(verb: str) -> None:
    main = get_command(experiment_app)
    assert isinstance(main, TyperGroup)
    profiles = get_command(profiles_app)
    assert isinstance(profiles, TyperGroup)
    # profiles has a reproduce of its own, which is no verb.
    command = {"experiment": main, **profiles.commands, **main.commands}[verb]
    options = {option for each in command.params for option in each.opts} - {"--only"}
    taken = [name for name, verbs in verbs_and_takers()[1].items() if verb in verbs and name not in SET_UP]
    assert {f"--{name.lower().replace('_', '-')}" for name in taken} == options


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
    ("given", "nearest"),
    [
        ("VARIENT", "VARIANT"),
        ("variant", "VARIANT"),
        ("SESSION", "SESSIONS"),
        ("DRYRUN", "DRY_RUN"),
        ("INFER-PORT", "INFER_PORT"),
        ("PYTEST_ARG", "PYTEST_ARGS"),
        ("TIMIN'", "TIMING"),
    ],
)
def test_a_variable_that_no_verb_knows_ends_with_the_nearest_known_one(
    given: str, nearest: str, only_these: Path, program: Program
) -> None:
    program("python3", ECHO)
    awk = shutil.which("awk", path="/usr/bin:/bin")
    assert awk is not None
    (only_these / "awk").symlink_to(awk)
    ended = make("experiment", f"{given}=mt")
    assert ended.returncode == 2
    assert ended.stdout == f"EXIT 2 unknown variable {given}; nearest known: {nearest}\n"


def test_without_awk_an_unknown_variable_is_still_refused(only_these: Path) -> None:
    ended = make("experiment", "VARIENT=mt")
    assert (ended.returncode, ended.stdout) == (2, "EXIT 2 unknown variable VARIENT; make help lists all\n")


def test_only_the_command_line_counts_and_make_keeps_its_own_variables(only_these: Path, program: Program) -> None:
    program("python3", ECHO)
    handed = "<-m><experiment.setup><harness><--survey-on-failure><--><-m><experiment><doctor>\n"
    # An outer make hands its own command line down through the environment.
    outer = {"MAKELEVEL": "1", "MAKEFLAGS": " -- CC=clang"}
    for environment in ({"VARIENT": "mt", "VARIANT": "mt"}, {"MAKE_X": "y", "SHAPE": "x"}, outer):
        assert make_in(environment, "doctor", "--no-print-directory").stdout == handed
    own = ("SHELL=/bin/sh", "MAKE=make", "MAKEFLAGS=", "CURDIR=.", "-j4", "__BASH_MAKE_COMPLETION__=1")
    assert make("doctor", *own).stdout == handed
    assert make("doctor", "LAB_RETRY=1", "PYTHON=python3").stdout == handed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["conformance", "SHAPE=x"],
            "make conformance takes no SHAPE; it takes VARIANT TARGET PYTHONS WITH INFER_PORT KEEP_ENV RESULTS",
        ),
        (["doctor", "VARIANT=mt"], "make doctor takes no VARIANT; it takes no variable but PYTHON LAB_RETRY"),
        (["RUN=results/a"], "make help takes no RUN; it takes no variable but PYTHON LAB_RETRY"),
        (["check", "PYTEST_ARGS=-x"], "make check takes no PYTEST_ARGS; it takes no variable but PYTHON LAB_RETRY"),
        (["test", "bench", "RUN=a"], "make test bench takes no RUN; it takes INSTRUCTIONS BEFORE PYTEST_ARGS"),
        (["report"], "make report needs RUN=results/<run>; make results lists them"),
        (["report", "RUN="], "make report needs RUN=results/<run>; make results lists them"),
        (["profile", "VARIANT=mt"], "make profile needs SESSIONS=200; a profile is of one point"),
        (["soak"], "make soak needs SESSIONS=200; a soak is one point"),
        (["bisect"], "make bisect needs PACKAGE=granian FROM=2.7.4 TO=2.8.7, or PYTHONS in order"),
        (["check", "report"], "make report needs RUN=results/<run>; make results lists them"),
    ],
)
def test_what_a_verb_does_not_take_or_lacks_ends_in_an_exit_line_before_anything_runs(
    arguments: list[str], reason: str, only_these: Path, program: Program
) -> None:
    program("python3", ECHO)
    for options in ([], ["-n"], ["-i"]):
        ended = make(*options, *arguments)
        assert (ended.returncode, ended.stdout) == (2, f"EXIT 2 {reason}\n")


def test_of_several_verbs_one_that_takes_a_variable_is_enough(only_these: Path, program: Program) -> None:
    program("python3", ECHO)
    ended = make("doctor", "conformance", "VARIANT=mt")
    assert ended.returncode == 0
    assert ended.stdout.endswith("<conformance><--variant><mt>\n")


def test_variables_to_keep_are_named_at_each_call_and_not_by_a_shell_that_still_has_the_name(
    only_these: Path, program: Program
) -> None:
    program("python3", ECHO)
    left_behind = {"KEEP_ENV": "PYTHONMALLOC", "PYTHONS": "3.15t", "WITH": "uvloop==0.22.1"}
    assert make_in(left_behind, "experiment").stdout.endswith("<--><-m><experiment>\n")
    shown = make_in({"KEEP_ENV": "PYTHONMALLOC"}, "ladder", "KEEP_ENV=PYTHON_JIT,LD_PRELOAD").stdout
    assert shown.endswith("<ladder><--keep-env><PYTHON_JIT,LD_PRELOAD>\n")


def test_a_safe_path_and_another_pythons_home_stop_nothing() -> None:
    led_astray = clean_environment(PYTHON=sys.executable, PYTHONSAFEPATH="1", PYTHONHOME="/no/such/home")
    command = ["sh", "experiment/setup/start.sh", "--survey"]
    ended = subprocess.run(command, cwd=ROOT, env=led_astray, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "CPython 3.14" in ended.stdout


def test_what_a_verb_needs_may_come_from_the_environment(only_these: Path, program: Program) -> None:
    program("python3", ECHO)
    assert make_in({"RUN": "results/a"}, "report").stdout.endswith("<report><--run><results/a>\n")


@pytest.mark.parametrize(
    ("arguments", "handed"),
    [
        (["experiment"], "harness -- -m experiment"),
        (
            ["experiment", "VARIANT=gil", "SESSIONS=200,300"],
            "harness -- -m experiment --variant gil --sessions 200,300",
        ),
        (
            ["experiment", *(f"{name}={name.lower()}" for name in VARIABLES if name != "PROFILER")],
            "harness -- -m experiment --variant variant --shape shape --target target --harness harness "
            "--receive receive --infer-port infer_port --sessions sessions --timing timing --results results",
        ),
        (["ladder", "SHAPE=quota-1", "DRY_RUN=1"], "harness -- -m experiment ladder --shape quota-1 --dry-run"),
        (["compare", "VARIANTS=gil", "AA=1"], "harness -- -m experiment compare --variants gil --aa"),
        (
            ["compare", "VARIANTS=mt,gil", "PYTHONS=3.14t,/a/bin/python", "WITH=uvloop==0.23.0"],
            "harness -- -m experiment compare --variants mt,gil --pythons 3.14t,/a/bin/python --with uvloop==0.23.0",
        ),
        (
            ["bisect", "PACKAGE=granian", "FROM=2.7.4", "TO=2.8.7", "CELL=2.7.4"],
            "profiles -- -m profiles bisect --package granian --from 2.7.4 --to 2.8.7 --cell 2.7.4",
        ),
        (
            ["bisect", "PYTHONS=3.14t,3.15t", "COST=1.05"],
            "profiles -- -m profiles bisect --cost 1.05 --pythons 3.14t,3.15t",
        ),
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
            ["conformance", "VARIANT=gil", "INFER_PORT=9001"],
            "harness -- -m experiment conformance --variant gil --infer-port 9001",
        ),
        (
            ["profile", "PROFILER=sched", "VARIANT=mt", "SHAPE=x", "TIMING=smoke", "SESSIONS=9", "HARNESS=shared"],
            "profiles -- -m profiles profile --profiler sched --variant mt --shape x --timing smoke --sessions 9 "
            "--harness shared",
        ),
        (["cliff", "RESULTS=a", "DRY_RUN=1"], "profiles -- -m profiles cliff --results a --dry-run"),
        (["faults", "VARIANTS=gil,mt"], "profiles -- -m profiles faults --variants gil,mt"),
        (["collector", "SETS=builds,chain"], "profiles -- -m profiles collector --sets builds,chain"),
        (
            ["sharing", "SETS=core", "PYTHONS=3.14t,3.15t"],
            "profiles -- -m profiles sharing --sets core --pythons 3.14t,3.15t",
        ),
        (["soak", "MINUTES=9", "SESSIONS=4"], "profiles -- -m profiles soak --minutes 9 --sessions 4"),
        (["report", "RUN=a"], "profiles -- -m profiles report --run a"),
        (["test-all"], "test -- -m tests.on_every_python"),
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


def test_no_address_in_any_file_of_set_up() -> None:
    files = [ROOT / "Makefile", *(ROOT / ".ci").iterdir(), *(ROOT / "requirements").glob("*.txt")]
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
