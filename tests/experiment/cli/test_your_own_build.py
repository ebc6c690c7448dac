"""Every command of docs/your-own-build.md is taken as it stands there, with things of this machine in its places."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from experiment.cli.app import main
from experiment.setup import CHECKOUT
from profiles import __main__ as profiles

PAGE = (CHECKOUT / "docs" / "your-own-build.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line, comments=True)[1:] for line in re.findall(r"^make .*$", PAGE, re.MULTILINE)]
WHEEL = "dist/granian-2.9.0-cp314-cp314t-manylinux_2_28_x86_64.whl"
PLACES = (WHEEL, "../uvloop", "/opt/parent/bin/python3", "/opt/mine/bin/python3")


@pytest.fixture
def here(tmp_path: Path) -> dict[str, str]:
    """What is here for each place that the page names."""
    if sys.version_info < (3, 13):
        pytest.skip("rows run on CPython 3.13 and newer")
    (tmp_path / "uvloop").mkdir()
    (tmp_path / "uvloop" / "pyproject.toml").touch()
    (tmp_path / Path(WHEEL).name).touch()
    base = str(Path(getattr(sys, "_base_executable", sys.executable)))
    return dict(zip(PLACES, (str(tmp_path / Path(WHEEL).name), str(tmp_path / "uvloop"), base, base), strict=True))


def options(words: list[str], here: dict[str, str]) -> list[str]:
    """As make hands a verb's variables on."""
    found = []
    for name, value in (word.split("=", 1) for word in words):
        for place, thing in here.items():
            value = value.replace(place, thing)
        found += [f"--{name.lower()}"] + ([] if name == "AA" else [value])
    return found


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "compare"], ids=" ".join)
def test_a_comparison_is_planned(words: list[str], here: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *options(words[1:], here), "--harness", "shared", "--dry-run"]) == 0
    shown = capfd.readouterr().out
    assert "min in all" in shown


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] == "bisect"], ids=" ".join)
def test_a_bisection_is_planned(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    versions = ["2.7.4", "2.8.0", "2.8.1", "2.8.7"]
    monkeypatch.setattr("profiles.bisect.question.published", lambda *_: versions)
    monkeypatch.setattr("profiles.bisect.question.ensure", lambda *_, **__: type("", (), {"python": sys.executable}))
    monkeypatch.setattr(sys, "argv", ["profiles", "bisect", *options(words[1:], {}), "--dry-run"])
    assert profiles.main() == 0
    assert "decisions" in capfd.readouterr().err


def test_the_page_has_these_and_no_more() -> None:
    assert {words[0] for words in COMMANDS} == {"compare", "bisect", "profile", "doctor", "conformance"}
    used = " ".join(word for words in COMMANDS for word in words)
    assert all(place in used for place in PLACES)
