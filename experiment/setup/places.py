"""Where set-up keeps things: `.lab/` in the checkout, and a cache outside it for interpreters built from source.

Also the little memory in `.lab/interpreters.json`. Nothing here decides anything.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiment.setup.commands import Report
from experiment.setup.json_files import read_json, write_json

CHECKOUT = Path(__file__).resolve().parents[2]
FORGET_FAILURES_AFTER_S = 24 * 3600


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gateway-lab"


@dataclass(frozen=True)
class Places:
    """The folders of one checkout."""

    checkout: Path = CHECKOUT
    cache: Path = field(default_factory=_cache)

    @property
    def home(self) -> Path:
        return self.checkout / ".lab"

    @property
    def tools(self) -> Path:
        return self.home / "tools"

    @property
    def interpreters(self) -> Path:
        """Interpreters built from source, one folder each: `<version>[t]-<hash>`."""
        return self.cache / "python"

    def requirements(self, environment: str) -> Path:
        return self.checkout / "requirements" / f"{environment}.txt"

    def venv(self, environment: str, request: str) -> Path:
        return self.home / "venvs" / f"{environment}-{request}"


@contextmanager
def locked(path: Path, report: Report) -> Iterator[None]:
    """Hold the file lock `path`; whoever waits says so. The lock goes with its holder, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            report(f"waiting for another set-up to finish (it holds {path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept(path: Path) -> dict[str, Any]:
    """The object in `path`; empty where there is none or it is damaged, so that what it says is found out anew."""
    try:
        return read_json(path) or {}
    except (OSError, ValueError):
        return {}


class Memory:
    """What earlier searches chose, and what failed at some cost, so that neither is paid for twice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def chosen(self, request: str) -> dict[str, Any] | None:
        found = kept(self._path).get("chosen", {}).get(request)
        return found if isinstance(found, dict) else None

    def choose(self, request: str, record: dict[str, Any]) -> None:
        self._put("chosen", request, record)

    def failed(self, what: str) -> tuple[float, str] | None:
        """(seconds ago, reason) of a failure of the last day."""
        record = kept(self._path).get("failed", {}).get(what)
        if record is None:
            return None
        ago_s = time.time() - record["at"]
        return (ago_s, record["reason"]) if 0 <= ago_s < FORGET_FAILURES_AFTER_S else None

    def fail(self, what: str, reason: str) -> None:
        self._put("failed", what, {"at": time.time(), "reason": reason})

    def _put(self, table: str, key: str, value: dict[str, Any]) -> None:
        whole = kept(self._path)
        whole.setdefault(table, {})[key] = value
        write_json(self._path, whole)
