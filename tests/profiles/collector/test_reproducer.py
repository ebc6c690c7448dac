"""The reproducer on the interpreters that are here: what a thread in C made is left to the collector, without a GIL."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiment.setup import CHECKOUT
from tests.interpreters import python_of

FILE = CHECKOUT / "profiles" / "collector" / "reproducer" / "held_by_its_maker.py"


def makers(python: Path) -> dict[str, dict[str, Any]]:
    command = [str(python), str(FILE), "--messages", "20000", "--live", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    first, *lines = (json.loads(line) for line in done.stdout.splitlines())
    assert first["gil"] is not python_is_free_threaded(python)
    return {line["maker"]: line for line in lines}


def python_is_free_threaded(python: Path) -> bool:
    said = "import sysconfig; print(bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    return subprocess.run([python, "-c", said], capture_output=True, text=True, check=True).stdout.strip() == "True"


@pytest.mark.parametrize("tag", ["3.14", "3.14t"])
def test_only_without_a_gil_and_only_what_a_thread_in_c_made_is_left_to_the_collector(tag: str) -> None:
    found = makers(python_of("memray", tag))
    left = {name: one["collected_per_1000_messages"] for name, one in found.items()}
    assert left["in C"] >= 990 if tag.endswith("t") else left["in C"] < 10
    assert all(left[name] < 100 for name in ("in Python", "in C, naps", "nobody"))


def test_it_is_one_file_of_the_standard_library() -> None:
    source = FILE.read_text(encoding="utf-8")
    assert source.count("\n") < 150
    assert "from experiment" not in source
    assert "from profiles" not in source
