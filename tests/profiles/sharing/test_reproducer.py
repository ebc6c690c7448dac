"""The reproducer runs on its own, and says what is immortal where."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from experiment.setup import CHECKOUT
from tests.interpreters import python_of

FOLDER = CHECKOUT / "profiles" / "sharing" / "reproducer"


def said(python: str | Path, reproducer: str = "counted_constants.py") -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(python), str(FOLDER / reproducer)], capture_output=True, text=True, timeout=120, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("tag", ["own", "3.14t"])
def test_constants_are_immortal_where_there_is_bytecode_and_no_gil(tag: str) -> None:
    about, *found = said(sys.executable if tag == "own" else python_of("drain", tag))
    assert about["free_threaded"] is (tag != "own")
    assert [(one["module"], one["reads"]) for one in found] == [
        ("without_bytecode", "constant"),
        ("without_bytecode", "field"),
        ("with_bytecode", "constant"),
        ("with_bytecode", "field"),
    ]
    assert all(one["alone_ns"] > 0 and one["beside_ns"] > 0 for one in found)
    if tag != "own":
        assert [one["constant_is_immortal"] for one in found] == [False, False, True, True]


def test_an_import_in_a_call_is_timed_beside_one_at_the_head() -> None:
    _, *found = said(sys.executable, "import_in_call.py")
    assert [one["way"] for one in found] == ["import_in_call", "module_at_head"]
    assert found[0]["alone_ns"] > found[1]["alone_ns"] > 0


def test_the_patch_is_a_patch_of_anyio_as_it_is_installed() -> None:
    """It would be of no use to anybody once anyio has changed there."""
    installed = (Path(anyio.__file__).parent / "_core" / "_eventloop.py").read_text(encoding="utf-8")
    lines = (FOLDER / "anyio_import_once.patch").read_text(encoding="utf-8").splitlines()
    taken = [line[1:] for line in lines if line.startswith("-") and not line.startswith("---")]
    assert "\n".join(taken[:3]) in installed
