"""What is laid over a locked environment: requirements, wheels or source folders, as somebody named them.

An overlay is what it holds, not what it is called: a wheel that was built again is another one.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from experiment.setup.failures import SetupError

_ARCHIVES = (".whl", ".tar.gz", ".zip")
_MADE_BY_BUILDING = re.compile(r"\..*|__pycache__|build|dist|target|.*\.egg-info|.*\.so|.*\.py[co]")
_HASH_DIGITS = 12


def items(typed: Iterable[str], folder: Path) -> tuple[str, ...]:
    """As typed: dist/x-1.0-….whl, uvloop==0.24.0b1, ../granian; paths made absolute, from `folder` on.

    Raises SetupError for a path where nothing is.
    """
    return tuple(_absolute(item, folder) for item in typed)


def _absolute(item: str, folder: Path) -> str:
    if not _is_path(item):
        return item
    path = Path(os.path.normpath(folder / item))
    if not (path.is_file() or (path / "pyproject.toml").is_file() or (path / "setup.py").is_file()):
        raise SetupError(
            f"{item}: expected a wheel, or a source folder with a pyproject.toml, found "
            f"{'neither in that folder' if path.is_dir() else 'nothing there'}"
        )
    return str(path)


def _is_path(item: str) -> bool:
    return "/" in item or item.endswith(_ARCHIVES) or item in (".", "..")


def needs_building(overlay: Sequence[str]) -> bool:
    """Whether something of it is no wheel."""
    return any(_is_path(item) and not item.endswith(".whl") for item in overlay)


def label(item: str) -> str:
    """What it is called in tables, without its place: "granian-2.9.0.dev1", "uvloop==0.24.0b1", "granian/"."""
    if not _is_path(item):
        return item
    name = Path(item).name
    if name.endswith(".whl"):
        return "-".join(name.split("-")[:2])
    return name.removesuffix(".tar.gz").removesuffix(".zip") if Path(item).is_file() else f"{name}/"


def fingerprint(overlay: Sequence[str]) -> list[str]:
    """Of each item what it is and what it holds: a file's bytes; of a folder those of its files, but for what building
    leaves in it."""
    return [_fingerprint(item) for item in overlay]


def _fingerprint(item: str) -> str:
    path = Path(item)
    if not _is_path(item):
        return item
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else _sources(path):
        digest.update(f"{file.relative_to(path)} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return f"{item} {digest.hexdigest()[:_HASH_DIGITS]}"


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if _MADE_BY_BUILDING.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _sources(path)
        elif path.is_file():
            yield path
