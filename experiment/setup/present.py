"""The interpreters that are already on this machine.

Looks at PATH, uv's folder, pyenv's, our own cache and the Python that runs this; installs nothing, asks no network.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiment.setup.facts import NEWEST_MINOR, OLDEST_MINOR, Request, describe, signature
from experiment.setup.failures import Unavailable
from experiment.setup.places import Places

_NAMES = [
    "python3",
    *(f"python3.{minor}{t}" for minor in range(NEWEST_MINOR, OLDEST_MINOR - 1, -1) for t in ("", "t")),
]


def _uv_folder() -> Path:
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or f"{data}/uv/python")


def _on_path(names: Iterable[str]) -> list[Path]:
    return _programs(Path(folder, name) for folder in os.get_exec_path() for name in names)


def _programs(paths: Iterable[Path]) -> list[Path]:
    return [path for path in dict.fromkeys(paths) if path.is_file() and os.access(path, os.X_OK)]


def _candidates(places: Places) -> list[Path]:
    found = _on_path(_NAMES)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for folder in (_uv_folder(), pyenv, places.interpreters):
        found += sorted(folder.glob("*/bin/python3"))
    return _programs(found)


def landscape(places: Places) -> str:
    """Changes when an interpreter comes, goes or is replaced; costs a few file look-ups and runs nothing."""
    seen = "\n".join(f"{path} {signature(path)}" for path in _candidates(places))
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


def first_on_path(request: Request) -> dict[str, Any] | None:
    """Facts (see `describe`) of the first on PATH that is exactly what is asked for; None where none is."""
    for path in _on_path((f"python{request}", "python3")):
        try:
            facts = describe(path)
        except Unavailable:
            continue
        if request.mismatch(facts) is None:
            return facts
    return None


def present(places: Places) -> list[dict[str, Any]]:
    """Facts (see `describe`) of every interpreter here that runs, newest first; each executable once."""
    by_file: dict[Path, dict[str, Any]] = {}
    asked: set[Path] = set()
    running = Path(getattr(sys, "_base_executable", sys.executable))
    for path in [*_candidates(places), running]:
        if path.resolve() in asked:
            continue
        asked.add(path.resolve())
        try:
            facts = describe(path)
        except Unavailable:
            continue  # a shim whose version is switched off, or something else under that name
        by_file.setdefault(Path(facts["base_executable"] or facts["executable"]).resolve(), facts)
    return sorted(by_file.values(), key=lambda facts: facts["version_info"], reverse=True)
