"""One virtual environment per environment and interpreter, installed from its lock with hashes checked.

`lab.json` in it is written last: without it, or when it no longer says what is wanted, the environment is made again.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from experiment.setup.facts import Interpreter, Request, signature
from experiment.setup.failures import Attempt, NotOnInterpreter, SetupError
from experiment.setup.interpreters import come_since, real_steps, remember, remembered, search
from experiment.setup.json_files import write_json
from experiment.setup.places import Memory, Places, kept, locked
from experiment.setup.tools import configuration_files, find_uv, index_options, run_uv

_INSTALL_LIMIT_S = 900


@dataclass(frozen=True)
class Environment:
    """An environment that is ready: run `python`."""

    name: str
    python: Path
    interpreter: Interpreter


def _to_stderr(line: str) -> None:
    print(f"setup: {line}", file=sys.stderr, flush=True)


def ensure(
    environment: str,
    interpreter: str,
    *,
    allow_stand_in: bool = True,
    report: Callable[[str], None] = _to_stderr,
    places: Places | None = None,
) -> Environment:
    """The environment `requirements/<environment>.txt` on interpreter "3.14" or "3.14t", set up if it is not yet.

    Costs a few file look-ups, and no network, where its lock and its interpreter are unchanged. `allow_stand_in` lets
    an older CPython of the same build do. Raises SetupError.
    """
    places = places or Places()
    request = Request.parse(interpreter)
    lock = places.requirements(environment)
    if not lock.is_file():
        known = ", ".join(sorted(path.stem for path in lock.parent.glob("*.txt")))
        raise SetupError(f"unknown environment {environment!r}; there are {known}")
    memory = Memory(places.home / "interpreters.json")
    ready = _ready(environment, request, places, memory, allow_stand_in=allow_stand_in)
    if ready is not None:
        return ready
    with locked(places.home / "lock", report):
        ready = _ready(
            environment, request, places, memory, allow_stand_in=allow_stand_in
        )  # whoever held the lock may have done it
        if ready is not None:
            return ready
        chosen = _interpreter(request, places, memory, report, allow_stand_in=allow_stand_in)
        # Another search may have changed nothing but the memory: the environment is then as it was.
        return _standing(environment, chosen, places) or _make(environment, chosen, places, report)


def _ready(
    environment: str, request: Request, places: Places, memory: Memory, *, allow_stand_in: bool
) -> Environment | None:
    known = remembered(request, places, memory, allow_stand_in=allow_stand_in)
    return _standing(environment, known[0], places) if known is not None and not known[1] else None


def _interpreter(
    request: Request, places: Places, memory: Memory, report: Callable[[str], None], *, allow_stand_in: bool
) -> Interpreter:
    known = remembered(request, places, memory, allow_stand_in=allow_stand_in)
    if known is None:
        steps = real_steps(places, find_uv(places, report), report, allow_stand_in=allow_stand_in)
        chosen = search(request, steps, memory, report, allow_stand_in=allow_stand_in)
    else:
        chosen, others_came_or_went = known
        if others_came_or_went:
            chosen = come_since(chosen, request, places, report)
    remember(chosen, places, memory, report)
    return chosen


def _wanted(environment: str, chosen: Interpreter, places: Places) -> dict[str, object]:
    """What lab.json must say for an environment to be as its lock and its interpreter ask."""
    return {
        "requirements_sha256": hashlib.sha256(places.requirements(environment).read_bytes()).hexdigest(),
        "interpreter": asdict(chosen),
        "signature": signature(chosen.executable),
    }


def _standing(environment: str, chosen: Interpreter, places: Places) -> Environment | None:
    venv = places.venv(environment, chosen.requested)
    python = venv / "bin" / "python"
    if kept(venv / "lab.json") != _wanted(environment, chosen, places) or not python.exists():
        return None
    return Environment(environment, python, chosen)


def _make(environment: str, chosen: Interpreter, places: Places, report: Callable[[str], None]) -> Environment:
    uv = find_uv(places, report)
    venv = places.venv(environment, chosen.requested)
    python = venv / "bin" / "python"
    lock = places.requirements(environment)
    wanted = _wanted(environment, chosen, places)
    report(f"installing {environment} on CPython {chosen.tag} into {os.path.relpath(venv, places.checkout)}")
    shutil.rmtree(venv, ignore_errors=True)
    # A free-threaded row is measured on published wheels; one without them is not on this interpreter.
    wheels_only = ["--no-build"] if chosen.free_threaded else []
    install: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        *wheels_only,
        *index_options(),
        "--python",
        python,
        "--require-hashes",
        "-r",
        lock,
    ]
    commands: dict[str, list[str | Path]] = {
        "make the virtual environment": [uv, "venv", "--quiet", "--no-project", "--python", chosen.executable, venv],
        "install the locked packages": install,
    }
    for what, command in commands.items():
        finished = run_uv(
            command,
            timeout_s=_INSTALL_LIMIT_S,
            cwd=places.checkout,
            report=report,
            tell=lambda gone_s: report(f"installing {environment}: {gone_s:.0f} s so far"),
        )
        without_wheel = re.search(r"(\S+==\S+) has no usable wheels", finished.stderr)
        if not finished.ok and without_wheel:
            raise NotOnInterpreter(
                f"{environment} is not on {chosen.series}: {without_wheel[1]} has no wheel for it",
                ways_out=(f"use a real CPython {chosen.requested}",) if chosen.stand_in else (),
            )
        if not finished.ok:
            files = ", ".join(configuration_files(uv, places.checkout))
            raise SetupError(
                f"environment {environment} could not be set up{f', with {files} or without' if files else ''}",
                tried=(Attempt(what, finished.why(), finished.took_s),),
                ways_out=(
                    "let uv reach a package index (pip's index-url or UV_DEFAULT_INDEX names a mirror)",
                    f"see all that uv says: {' '.join(str(part) for part in command).replace(' --quiet', '')}",
                    "`make clean`, then the same command again",
                ),
            )
    write_json(venv / "lab.json", wanted)
    return Environment(environment, python, chosen)
