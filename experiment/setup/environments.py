"""One virtual environment per environment and interpreter, installed from its lock with hashes checked.

`lab.json` in it is written last: without it, or when it no longer says what is wanted, the environment is made again.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from experiment.setup import overlay as overlays
from experiment.setup.facts import OWN_SERIES, Interpreter, Request, signature
from experiment.setup.failures import Attempt, NotOnInterpreter, SetupError
from experiment.setup.interpreters import at, come_since, is_path, real_steps, remember, remembered, search
from experiment.setup.json_files import write_json
from experiment.setup.places import Memory, Places, kept, locked
from experiment.setup.tools import configuration_files, find_uv, index_options, run_uv

_INSTALL_LIMIT_S = 900
_HASH_DIGITS = 8


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
    overlay: Sequence[str] = (),
    allow_stand_in: bool = True,
    report: Callable[[str], None] = _to_stderr,
    places: Places | None = None,
) -> Environment:
    """The environment `requirements/<environment>.txt` on interpreter "3.14", "3.14t" or the path of one, set up if it
    is not yet.

    Costs a few file look-ups, and no network, where its lock, its overlay and its interpreter are unchanged.

    Args:
        overlay: what is installed over the locked packages, as `overlay.items` gives it.
        allow_stand_in: an older CPython of the same build does, too.

    Raises:
        SetupError: it cannot be had.
    """
    places = places or Places()
    lock = places.requirements(environment)
    if not lock.is_file():
        known = ", ".join(sorted(path.stem for path in lock.parent.glob("*.txt")))
        raise SetupError(f"unknown environment {environment!r}; there are {known}")
    wanted = _Wanted(environment, tuple(overlay), places)
    if is_path(interpreter):
        chosen = at(interpreter)
        ready = wanted.standing(chosen)
        if ready is not None:
            return ready
        with locked(places.home / "lock", report):
            return wanted.standing(chosen) or wanted.make(chosen, report)
    request = Request.parse(interpreter)
    memory = Memory(places.home / "interpreters.json")
    ready = _ready(wanted, request, memory, allow_stand_in=allow_stand_in)
    if ready is not None:
        return ready
    with locked(places.home / "lock", report):
        ready = _ready(wanted, request, memory, allow_stand_in=allow_stand_in)  # whoever held the lock may have done it
        if ready is not None:
            return ready
        chosen = _interpreter(request, places, memory, report, allow_stand_in=allow_stand_in)
        # Another search may have changed nothing but the memory: the environment is then as it was.
        return wanted.standing(chosen) or wanted.make(chosen, report)


def _ready(wanted: "_Wanted", request: Request, memory: Memory, *, allow_stand_in: bool) -> Environment | None:
    known = remembered(request, wanted.places, memory, allow_stand_in=allow_stand_in)
    return wanted.standing(known[0]) if known is not None and not known[1] else None


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


@dataclass(frozen=True)
class _Wanted:
    """An environment as its lock and overlay ask, on whatever interpreter."""

    name: str
    overlay: tuple[str, ...]
    places: Places

    def _says(self, chosen: Interpreter) -> dict[str, object]:
        """What lab.json must say for it to be as it is asked for."""
        laid_over = {"overlay": overlays.fingerprint(self.overlay)} if self.overlay else {}
        return {
            "requirements_sha256": hashlib.sha256(self.places.requirements(self.name).read_bytes()).hexdigest(),
            "interpreter": asdict(chosen),
            "signature": signature(chosen.executable),
            **laid_over,
        }

    def _venv(self, chosen: Interpreter) -> Path:
        """One for each overlay by its names: what has changed in it makes it again."""
        over = hashlib.sha256("\n".join(self.overlay).encode()).hexdigest()[:_HASH_DIGITS] if self.overlay else ""
        return self.places.venv(self.name, chosen.requested + (f"+{over}" if over else ""))

    def standing(self, chosen: Interpreter) -> Environment | None:
        venv = self._venv(chosen)
        python = venv / "bin" / "python"
        if kept(venv / "lab.json") != self._says(chosen) or not python.exists():
            return None
        return Environment(self.name, python, chosen)

    def make(self, chosen: Interpreter, report: Callable[[str], None]) -> Environment:
        uv, venv, places = find_uv(self.places, report), self._venv(chosen), self.places
        python = venv / "bin" / "python"
        says = self._says(chosen)
        over = "".join(f" + {overlays.label(item)}" for item in self.overlay)
        report(f"installing {self.name}{over} on CPython {chosen.label} into {os.path.relpath(venv, places.checkout)}")
        shutil.rmtree(venv, ignore_errors=True)
        # A row is measured on published wheels; one without them is not on this interpreter. The series of the
        # laboratory's own GIL build alone may build, for machines that have no wheels.
        wheels_only = [] if chosen.requested == OWN_SERIES[0] else ["--no-build"]
        install: list[str | Path] = [uv, "pip", "install", "--quiet", *index_options(), "--python", python]
        make_it: list[str | Path] = [uv, "venv", "--quiet", "--no-project", "--python", chosen.executable, venv]
        locked_packages: list[str | Path] = ["--require-hashes", "-r", places.requirements(self.name)]
        commands: dict[str, list[str | Path]] = {
            "make the virtual environment": make_it,
            "install the locked packages": [*install, *wheels_only, *locked_packages],
        }
        if self.overlay:
            # A folder's sources may have changed since uv built it last.
            built = ["--refresh"] if overlays.needs_building(self.overlay) else wheels_only
            commands["install what is laid over them"] = [*install, *built, *self.overlay]
        for what, command in commands.items():
            finished = run_uv(
                command,
                timeout_s=_INSTALL_LIMIT_S,
                cwd=places.checkout,
                report=report,
                tell=lambda gone_s: report(f"installing {self.name}: {gone_s:.0f} s so far"),
            )
            without_wheel = re.search(r"(\S+==\S+) has no (?:usable )?wheels", finished.stderr)
            if not finished.ok and without_wheel:
                raise NotOnInterpreter(
                    f"{self.name} is not on {chosen.series}: {without_wheel[1]} has no wheel for it",
                    ways_out=(f"use a real CPython {chosen.requested}",) if chosen.stand_in else (),
                )
            if not finished.ok:
                files = ", ".join(configuration_files(uv, places.checkout))
                raise SetupError(
                    f"environment {self.name}{over} could not be set up{f', with {files} or without' if files else ''}",
                    tried=(Attempt(what, finished.why(), finished.took_s),),
                    ways_out=(
                        "let uv reach a package index (pip's index-url or UV_DEFAULT_INDEX names a mirror)",
                        f"see all that uv says: {' '.join(str(part) for part in command).replace(' --quiet', '')}",
                        "`make clean`, then the same command again",
                    ),
                )
        write_json(venv / "lab.json", says)
        return Environment(self.name, python, chosen)
