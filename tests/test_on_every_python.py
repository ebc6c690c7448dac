"""The suite on every Python: which ones, what one run counted, and the page that keeps each one's last result."""

import sys
from pathlib import Path
from typing import Any

from experiment.setup import CHECKOUT
from tests.on_every_python import HEAD, PAGE, requests, run_suite, with_row


def _facts(minor: int, *, free_threaded: bool = False, implementation: str = "cpython") -> dict[str, Any]:
    return {
        "version": f"3.{minor}.1",
        "version_info": [3, minor, 1],
        "free_threaded": free_threaded,
        "debug": False,
        "implementation": implementation,
    }


def test_each_build_that_the_laboratory_runs_on_is_taken_once() -> None:
    here = [_facts(14), _facts(14, free_threaded=True), _facts(12), _facts(12), _facts(11, implementation="pypy")]
    assert [str(request) for request in requests(here)] == ["3.12", "3.14", "3.14t"]
    assert requests([_facts(10)]) == []


def test_a_run_says_whether_pytest_was_content_and_what_it_counted(tmp_path: Path) -> None:
    suite = tmp_path / "test_small.py"
    good = "import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\n"
    python, alone = Path(sys.executable), ["-p", "no:cacheprovider", str(suite)]
    suite.write_text(good)
    assert run_suite(python, alone) == (True, "1 passed, 1 skipped")
    suite.write_text(good + "def test_c(): assert False\n")
    assert run_suite(python, alone) == (False, "1 failed, 1 passed, 1 skipped")
    suite.write_text("import pytest\n@pytest.mark.slow\ndef test_a(): pass\n")
    assert run_suite(python, [*alone, "-c", str(CHECKOUT / "pyproject.toml")]) == (True, "1 passed, 0 skipped")
    assert run_suite(python, ["--no-such-option"]) == (False, "pytest ended with status 4 and no report")


def test_a_row_takes_the_place_of_its_last_one_and_leaves_the_others() -> None:
    page = with_row("", "3.14", "3.14.7", "new")
    page = with_row(with_row(with_row(page, "3.9t", "x"), "3.14t", "—"), "3.14", "3.14.8", "newer")
    assert page == HEAD + "| 3.9t | x |\n| 3.14 | 3.14.8 | newer |\n| 3.14t | — |\n"


def test_the_committed_page_is_as_the_program_writes_it() -> None:
    assert PAGE.read_text(encoding="utf-8").startswith(HEAD)
