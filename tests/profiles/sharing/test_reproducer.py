"""The reproducer runs on its own, and says what is immortal where."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiment.setup import CHECKOUT
from tests.interpreters import python_of

REPRODUCER = CHECKOUT / "profiles" / "sharing" / "reproducer" / "counted_constants.py"


def said(python: str | Path) -> list[dict[str, Any]]:
    done = subprocess.run([str(python), REPRODUCER], capture_output=True, text=True, timeout=120, check=True)
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
