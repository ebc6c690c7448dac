"""Versions are walked down from the newest, as uv answers; an end without a wheel, and a wrong order, are said."""

import sys
from pathlib import Path

import pytest

from experiment.setup.failures import SetupError
from experiment.setup.places import Places
from experiment.setup.versions import published

from .conftest import Program

# A uv whose index has wheels of 2.7.4, 2.8.0, 2.8.1 and 2.8.6; it answers a requirement as the real one does.
_ANSWERS = f"""
for last; do :; done
[ "$1" = --version ] && {{ echo "uv 9.9.9 (a test's)"; exit 0; }}
{sys.executable} -c '
import re, sys
if "broken" in sys.argv[1]:
    sys.exit(1)
numbers = lambda text: [int(part) for part in text.split(".")]
kept = [
    each for each in ("2.7.4", "2.8.0", "2.8.1", "2.8.6")
    if all({{">=": numbers(each) >= numbers(than), "<": numbers(each) < numbers(than), "==": each == than}}[sign]
           for sign, than in re.findall(r"(>=|<|==)([0-9.]+)", sys.argv[1]))
]
print(f"Would install 1 package\\n + granian=={{kept[-1]}}" if kept else "error: No solution found", file=sys.stderr)
sys.exit(not kept)
' "$last"
"""


@pytest.fixture
def uv(program: Program) -> Path:
    return program("uv", _ANSWERS)


def of(places: Places, oldest: str, newest: str, package: str = "granian") -> list[str]:
    return published(Path(sys.executable), package, oldest, newest, lambda _: None, places)


def test_every_version_between_the_two_oldest_first(places: Places, uv: Path) -> None:
    assert of(places, "2.7.4", "2.8.6") == ["2.7.4", "2.8.0", "2.8.1", "2.8.6"]
    assert of(places, "2.8.0", "2.8.1") == ["2.8.0", "2.8.1"]


def test_ends_that_cannot_be_had_are_said(places: Places, uv: Path) -> None:
    with pytest.raises(SetupError, match=r"granian 2\.7\.5 has no wheel for this interpreter"):
        of(places, "2.7.5", "2.8.6")
    with pytest.raises(SetupError, match="expected FROM to be older than TO"):
        of(places, "2.8.6", "2.7.4")
    with pytest.raises(SetupError, match="the versions of broken could not be found out"):
        of(places, "2.7.4", "2.8.6", "broken")
