"""An environment is made once, again when its lock or interpreter changes, and never looks finished when it is not."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiment.setup.environments import Environment, _Wanted, ensure
from experiment.setup.facts import Interpreter
from experiment.setup.failures import NotOnInterpreter, SetupError
from experiment.setup.places import Memory, Places, kept

from .conftest import HERE, Program


class Setup:
    def __init__(self, places: Places, uv: Path) -> None:
        self.places = places
        self.uv = uv
        self.said: list[str] = []

    def __call__(
        self, name: str = "gil", interpreter: str = HERE, *, overlay: tuple[str, ...] = (), allow_stand_in: bool = True
    ) -> Environment:
        return ensure(
            name,
            interpreter,
            overlay=overlay,
            allow_stand_in=allow_stand_in,
            report=self.said.append,
            places=self.places,
        )

    def asked(self) -> list[str]:
        """What uv was asked since the last look."""
        log = self.uv.parent / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def setup(places: Places, uv: Path) -> Setup:
    return Setup(places, uv)


def test_it_is_installed_with_hashes_on_the_interpreter_it_says(setup: Setup, places: Places) -> None:
    made = setup()
    assert made.python.exists()
    assert made.python.parent.parent.parent == places.home / "venvs"
    (install,) = [line for line in setup.asked() if line.startswith("pip install")]
    assert f"--python {made.python}" in install
    assert f"--require-hashes -r {places.requirements('gil')}" in install
    assert made.interpreter.stand_in is False
    assert kept(made.python.parents[1] / "lab.json")["interpreter"]["tag"] == made.interpreter.tag


def test_unchanged_it_runs_nothing_at_all(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    first = setup()
    setup.said.clear()
    setup.asked()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    assert setup() == first
    assert setup.asked() == []
    assert setup.said == []


def test_another_lock_makes_it_again(setup: Setup, places: Places) -> None:
    old = setup().python.parent / "left-over"
    old.touch()
    setup.asked()
    places.requirements("gil").write_text("granian==2\n")
    setup()
    assert any(line.startswith("pip install") for line in setup.asked())
    assert not old.exists()


def test_an_interrupted_install_does_not_look_finished(setup: Setup) -> None:
    fails = setup.uv.parent / "uv.fails-at-pip-install"
    fails.touch()
    with pytest.raises(SetupError) as caught:
        setup()
    assert caught.value.reason == "environment gil could not be set up"
    assert "told to fail" in str(caught.value)
    assert len(caught.value.ways_out) == 3
    fails.unlink()
    setup.asked()
    assert setup().python.exists()
    assert any(line.startswith("pip install") for line in setup.asked())


def test_a_deleted_interpreter_of_the_environment_makes_it_again(setup: Setup) -> None:
    python = setup().python
    python.unlink()
    assert setup().python.exists()


def test_each_interpreter_has_an_environment_of_its_own(setup: Setup, places: Places) -> None:
    assert places.venv("gil", "3.14") != places.venv("gil", "3.14t")


def test_an_unknown_environment_lists_the_known_ones(setup: Setup) -> None:
    with pytest.raises(SetupError, match="unknown environment 'gill'; there are gil, tools"):
        setup("gill")


Newer = Callable[[str, int], Path]


@pytest.fixture
def newer(program: Program) -> Newer:
    """Puts a Python of this test's minor version on PATH that states another patch release: newer(name, micro)."""

    def put(name: str, micro: int) -> Path:
        other = f"'version': '{HERE}.{micro}', 'version_info': [3, {sys.version_info.minor}, {micro}]"
        state = f"import json, sys; facts = json.load(sys.stdin); own = sys.argv[1]; facts |= {{{other}}}"
        own = "facts |= {'executable': own, 'base_executable': own}; print(json.dumps(facts))"
        return program(name, f'{sys.executable} "$@" | {sys.executable} -c "{state}; {own}" "$0"\n')

    return put


# The running Python is older than this: here it can only stand in.
NEWER = f"3.{sys.version_info.minor + 1}"


def test_a_stand_in_is_told_once_and_then_kept_without_asking_again(setup: Setup, places: Places) -> None:
    (setup.uv.parent / "found").write_text("")
    made = setup(interpreter=NEWER)
    assert made.interpreter.stand_in is True
    assert made.interpreter.requested == NEWER
    assert any(f"in place of {NEWER}" in line for line in setup.said)
    assert any(line.startswith("python install") for line in setup.asked())
    setup.said.clear()
    assert setup(interpreter=NEWER) == made
    assert (setup.asked(), setup.said) == ([], [])
    assert Memory(places.home / "interpreters.json").chosen(NEWER) is not None


def test_a_stand_in_does_not_do_where_it_must_not(setup: Setup) -> None:
    (setup.uv.parent / "found").write_text("")
    (setup.uv.parent / "apt-get").write_text("#!/bin/sh\nexit 1\n")
    (setup.uv.parent / "apt-get").chmod(0o755)
    setup(interpreter=NEWER)
    with pytest.raises(SetupError, match=f"no CPython {NEWER} for this machine"):
        setup(interpreter=NEWER, allow_stand_in=False)


def test_when_others_come_the_exact_one_is_looked_for_without_the_network(setup: Setup, program: Program) -> None:
    (setup.uv.parent / "found").write_text("")
    made = setup(interpreter=NEWER)
    setup.asked()
    program("python3.12", f'exec {sys.executable} "$@"')
    assert setup(interpreter=NEWER) == made
    asked = setup.asked()
    assert any(line.startswith("python find") for line in asked)
    assert not any(line.startswith(("python install", "venv")) for line in asked)
    setup(interpreter=NEWER)
    assert setup.asked() == []


def test_a_newer_one_first_on_path_is_used_from_the_next_run_on(setup: Setup, newer: Newer) -> None:
    was = setup().interpreter
    setup.asked()
    setup.said.clear()
    path = newer(f"python{HERE}", 98)
    made = setup()
    assert (made.interpreter.executable, made.interpreter.version) == (str(path), f"{HERE}.98")
    change = (
        f"CPython {HERE}: from {was.tag} at {was.executable} to {HERE}.98 at {path}; environments on it are made again"
    )
    assert setup.said[0] == change
    asked = setup.asked()
    assert any(line.startswith("venv") and f"--python {path}" in line for line in asked)
    assert any(line.startswith("pip install") for line in asked)
    assert not any(line.startswith("python") for line in asked)
    setup.said.clear()
    assert setup() == made
    assert (setup.asked(), setup.said) == ([], [])
    # An upgrade in place is a change as well.
    (setup.uv.parent / "found").write_text(str(newer(f"python{HERE}", 99)))
    assert setup().interpreter.version == f"{HERE}.99"
    assert f"CPython {HERE}: from {HERE}.98 at {path} to {HERE}.99 at {path}; " in setup.said[0]


@pytest.mark.parametrize("micro", [97, 98])
def test_one_first_on_path_that_is_no_newer_changes_nothing(setup: Setup, newer: Newer, micro: int) -> None:
    (setup.uv.parent / "found").write_text(str(newer("chosen", 98)))
    made = setup()
    setup.asked()
    setup.said.clear()
    newer(f"python{HERE}", micro)
    assert setup() == made
    assert (setup.asked(), setup.said) == ([], [])


def test_a_newer_stand_in_takes_the_place_of_an_older_one_and_nothing_is_built(setup: Setup, newer: Newer) -> None:
    (setup.uv.parent / "found").write_text("")
    setup(interpreter=NEWER)
    setup.asked()
    setup.said.clear()
    path = newer(f"python{HERE}", 98)
    made = setup(interpreter=NEWER)
    assert (made.interpreter.executable, made.interpreter.stand_in) == (str(path), True)
    assert f"to {HERE}.98 at {path}" in setup.said[0]
    assert not any(line.startswith("python install") for line in setup.asked())


FREE = Interpreter("3.14t", sys.executable, "3.13.5", free_threaded=True, stand_in=True, source="Debian source build")


def test_free_threaded_rows_run_on_published_wheels(setup: Setup, places: Places) -> None:
    _Wanted("gil", (), places).make(FREE, print)
    (install,) = [line for line in setup.asked() if line.startswith("pip install")]
    assert "--no-build" in install


def test_a_row_without_a_wheel_is_not_on_that_interpreter(setup: Setup, places: Places, program: Program) -> None:
    said = "Because granian==1 has no usable wheels and you require granian==1, there is no solution"
    program("uv", setup.uv.read_text().split("\n", 1)[1] + f"[ $1 = pip ] && {{ echo '{said}' >&2; exit 1; }}; true")
    with pytest.raises(NotOnInterpreter) as caught:
        _Wanted("gil", (), places).make(FREE, print)
    assert caught.value.reason == "gil is not on 3.13t: granian==1 has no wheel for it"
    assert "use a real CPython 3.14t" in str(caught.value)


def test_without_uv_and_without_pip_it_says_what_is_missing(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.uv.unlink()
    monkeypatch.setenv("PATH", "/usr/bin:/bin" if shutil.which("uv", path="/usr/bin:/bin") is None else "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SetupError) as caught:
        setup()
    assert caught.value.reason == "uv could not be installed"
    text = str(caught.value)
    assert "has no module ensurepip" in text
    assert "has no module pip" in text
    assert "python3-venv" in text
    assert len(caught.value.ways_out) == 3


def installs(setup: Setup) -> list[str]:
    return [line for line in setup.asked() if line.startswith("pip install")]


def test_what_is_laid_over_has_an_environment_of_its_own_and_is_made_again_when_it_changes(
    setup: Setup, places: Places, tmp_path: Path
) -> None:
    plain = setup()
    wheel = tmp_path / "tiny-2.0-py3-none-any.whl"
    wheel.write_bytes(b"one")
    setup.asked()
    over = setup(overlay=(str(wheel), "uvloop==0.23.0"))
    assert over.python != plain.python
    locked, laid_over = installs(setup)
    assert "--require-hashes" in locked
    assert laid_over.startswith("pip install --quiet ")
    assert f"--python {over.python} " in laid_over
    assert laid_over.endswith(f" {wheel} uvloop==0.23.0")
    assert "--require-hashes" not in laid_over
    assert setup(overlay=(str(wheel), "uvloop==0.23.0")) == over
    assert installs(setup) == []
    wheel.write_bytes(b"two")
    assert setup(overlay=(str(wheel), "uvloop==0.23.0")) == over
    assert len(installs(setup)) == 2
    assert setup() == plain
    assert installs(setup) == []


def test_a_source_folder_is_built_anew_and_published_wheels_are_not(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    setup(interpreter=sys.executable, overlay=(str(tmp_path),))
    locked, laid_over = installs(setup)
    assert ("--no-build" in locked, "--no-build" in laid_over, "--refresh" in laid_over) == (True, False, True)


def test_an_interpreter_named_by_its_path_is_that_one_and_no_other(setup: Setup, newer: Newer) -> None:
    mine, other = newer("mine", 97), newer("other", 97)
    made = setup(interpreter=str(mine))
    assert (made.interpreter.executable, made.interpreter.tag) == (str(mine), f"{HERE}.97")
    assert made.interpreter.stand_in is False
    assert setup(interpreter=str(other)).python != made.python
    assert setup(interpreter=str(mine)) == made
    mine.write_text(mine.read_text() + "# built again\n")
    setup.asked()
    assert setup(interpreter=str(mine)).python == made.python
    assert len(installs(setup)) == 1


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("'implementation': 'pypy'", "is pypy 3."),
        ("'version_info': [3, 12, 1]", "rows run on CPython 3.13 to 3.16"),
    ],
)
def test_a_path_that_no_row_runs_on_says_so(setup: Setup, program: Program, facts: str, said: str) -> None:
    change = f"import json, sys; facts = json.load(sys.stdin); facts |= {{{facts}}}; print(json.dumps(facts))"
    path = program("mine", f'{sys.executable} "$@" | {sys.executable} -c "{change}"\n')
    with pytest.raises(SetupError, match=re.escape(said)):
        setup(interpreter=str(path))
    with pytest.raises(SetupError, match="expected the path of a CPython, got /no/such/python"):
        setup(interpreter="/no/such/python")
