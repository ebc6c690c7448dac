"""A process proves its interpreter: the version and build that were promised, and no GIL on a free-threaded one."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiment.run.launch import GIL_TURNED_ON
from tests.interpreters import python_of
from variants.shared.build import WrongInterpreter, require_interpreter, running


@pytest.fixture(scope="module")
def free_threaded_python() -> Path:
    return python_of("bench", "3.14t", or_older=True)


CHECKOUT = Path(__file__).parents[3]
CHECK = "from variants.shared.build import require_interpreter, running; require_interpreter(running())"


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)


def test_the_promised_interpreter_is_taken() -> None:
    require_interpreter(running())
    require_interpreter(None)


@pytest.mark.parametrize("promised", ["3.14.0", "3.14.0t", f"{sys.version_info.major}.{sys.version_info.minor}"])
def test_another_one_is_refused_by_name(promised: str) -> None:
    with pytest.raises(WrongInterpreter, match=rf"expected CPython {promised}, got {running()} at"):
        require_interpreter(promised)


def test_a_free_threaded_build_with_the_gil_off_is_taken(free_threaded_python: Path) -> None:
    assert run(free_threaded_python, "-c", CHECK).returncode == 0


def test_a_free_threaded_build_with_the_gil_on_is_refused(free_threaded_python: Path) -> None:
    done = run(free_threaded_python, "-X", "gil=1", "-c", CHECK)
    assert done.returncode == 1
    assert "runs with the GIL on" in done.stderr


LOADS = """
import importlib.machinery as machinery, importlib.util as util
name = "_testmultiphase_null_slots"  # one of CPython's own, which does not say that it can do without the GIL
loader = machinery.ExtensionFileLoader(name, util.find_spec("_testmultiphase").origin)
loader.exec_module(util.module_from_spec(util.spec_from_file_location(name, loader.path, loader=loader)))
"""


def test_an_import_that_turns_the_gil_on_fails_and_is_named(free_threaded_python: Path) -> None:
    if run(free_threaded_python, "-W", "ignore", "-c", LOADS).returncode:
        pytest.skip("this build lacks CPython's own test modules")
    done = run(free_threaded_python, "-W", GIL_TURNED_ON, "-c", LOADS)
    assert done.returncode == 1
    assert "enabled to load module '_testmultiphase_null_slots'" in done.stderr
    done = run(free_threaded_python, "-W", "ignore", "-c", LOADS + CHECK)
    assert "runs with the GIL on" in done.stderr
