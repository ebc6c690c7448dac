"""Fixtures of set-up's tests: a checkout and cache of their own, and programs on PATH where uv or apt would be."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from experiment.setup.places import Places

Program = Callable[[str, str], Path]

HERE = f"3.{sys.version_info.minor}"

# Answers as uv does for the few commands that set-up gives it; what it was asked lands in uv.log beside it.
_UV = f"""
here=$(dirname "$0")
echo "$*" >> "$here/uv.log"
[ -e "$here/uv.fails-at-$1-$2" ] && {{ echo "error: told to fail" >&2; exit 2; }}
case "$1 $2" in
    "--version ") echo "uv 9.9.9 (a test's)" ;;
    "python find") [ -s "$here/found" ] && cat "$here/found" || {{ echo "error: none" >&2; exit 2; }} ;;
    "python install") echo "error: no network" >&2; exit 1 ;;
    "venv "*) for venv; do :; done; mkdir -p "$venv/bin"; ln -s {sys.executable} "$venv/bin/python" ;;
esac
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    places = Places(checkout=tmp_path / "checkout", cache=tmp_path / "cache")
    (places.checkout / "requirements").mkdir(parents=True)
    places.requirements("tools").write_text("uv==9.9.9\n")
    places.requirements("gil").write_text("granian==1\n")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "no-pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "no-uv"))
    monkeypatch.delenv("LAB_RETRY", raising=False)
    return places


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Comes before all else on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def program(bin_folder: Path) -> Program:
    """Puts a shell script on PATH: program(name, body)."""

    def put(name: str, body: str) -> Path:
        path = bin_folder / name
        path.write_text(f"#!/bin/sh\n{body}")
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def uv(program: Program) -> Path:
    """A uv whose `python find` answers what the file `found` beside it says, at first the Python of this test."""
    path = program("uv", _UV)
    (path.parent / "found").write_text(sys.executable)
    return path
