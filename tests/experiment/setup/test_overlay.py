"""What is laid over an environment is what it holds: names for tables, and a fingerprint that changes with it."""

from pathlib import Path

import pytest

from experiment.setup.failures import SetupError
from experiment.setup.overlay import fingerprint, items, label, needs_building


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "granian"
    (folder / "src").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "src" / "lib.rs").write_text("fn main() {}\n")
    return folder


def test_paths_are_made_absolute_and_requirements_left(tmp_path: Path, source: Path) -> None:
    wheel = tmp_path / "dist" / "granian-2.9.0.dev1-cp314-cp314t-linux.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"x")
    found = items((f"dist/{wheel.name}", "uvloop==0.24.0b1", str(source), "./granian"), tmp_path)
    assert found == (str(wheel), "uvloop==0.24.0b1", str(source), str(source))
    assert [label(item) for item in found[:3]] == ["granian-2.9.0.dev1", "uvloop==0.24.0b1", "granian/"]
    assert not needs_building(found[:2])
    assert needs_building(found)


@pytest.mark.parametrize("item", ["dist/none.whl", "./empty", "none.whl"])
def test_a_path_with_nothing_to_install_says_so(tmp_path: Path, item: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError, match=r"expected a wheel, or a source folder with a pyproject\.toml"):
        items([item], tmp_path)


def test_a_fingerprint_changes_with_what_is_in_it_and_with_nothing_else(source: Path) -> None:
    (before,) = fingerprint([str(source)])
    for made in (".git", "target", "build", "granian.egg-info"):
        (source / made).mkdir()
        (source / made / "left").write_text("by building")
    assert fingerprint([str(source)]) == [before]
    (source / "src" / "lib.rs").write_text("fn main() { }\n")
    assert fingerprint([str(source)]) != [before]
    assert fingerprint(["uvloop==0.23.0"]) == ["uvloop==0.23.0"]
