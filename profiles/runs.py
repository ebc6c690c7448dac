"""What the runs of `make cliff` and `make collector` have in common: how evidence begins, and what is kept of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from experiment.host import Run, facts
from experiment.run import CONTRACT, Display, commit
from experiment.store import identity

_INTERPRETER_KEYS = ("version", "tag", "free_threaded", "gil_enabled", "compiler", "pgo", "packages")


def begun(run: Run, started: datetime) -> dict[str, Any]:
    """The evidence of a run that begins: when, by which contract and laboratory, on what machine."""
    return {
        "started": started.isoformat(timespec="seconds"),
        "finished": False,
        "contract": CONTRACT,
        "lab": commit(),
        "machine": facts(run.host),
        "environment": run.environment.facts(),
    }


def refusal(name: str, error: Exception, display: Display) -> str:
    """The reason why something cannot run, in one line; it is shown, too."""
    reason = " ".join(str(error).split())
    display.note(f"{name} cannot run: {reason}")
    return reason


def interpreter_kept(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An interpreter's facts without what names the machine."""
    return None if found is None else {key: found.get(key) for key in _INTERPRETER_KEYS} | identity(found)
