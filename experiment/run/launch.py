"""How a row becomes a process: environment made ready once, command line built for every start. Starts nothing."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiment.ask import Build, Foreign, Plan, Variant
from experiment.host import contents
from experiment.setup import OWN_SERIES, Environment, NotOnInterpreter, describe, ensure
from variants.shared.build import GIL_WARNING

GIL_TURNED_ON = f"error:{GIL_WARNING}:RuntimeWarning"
"""For `python -W`: an import that would turn the GIL back on fails, and its name is in the error."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A row that can be started as often as there are points."""

    row: Variant | Foreign
    """As it runs here: with its stand-in's factors, and the interpreter that was found, where that is an older one."""
    python: Path | None
    """None for a foreign row."""
    tag: str | None
    """The interpreter as found: "3.14.7t"."""

    @property
    def health(self) -> str:
        """The path that says whether it is up."""
        return self.row.health if isinstance(self.row, Foreign) else "/health"

    def command(self, port: int, inference_url: str, vcpus: int) -> tuple[list[str], dict[str, str]]:
        """Command line, and environment variables beside those that every role gets."""
        if isinstance(self.row, Foreign):
            return self.row.filled(port, inference_url)
        argv = [
            *(str(self.python), "-W", GIL_TURNED_ON, "-m", self.row.module),
            *("--port", str(port), "--inference-url", inference_url, "--expect", str(self.tag)),
            *self.row.arguments(vcpus),
        ]
        return argv, {}


def prepare(plan: Plan, report: Callable[[str], None]) -> tuple[Launch, dict[str, Any] | None]:
    """Make the environment of the plan's row ready; the facts of its interpreter go into the manifest (None for a
    foreign row).

    Raises:
        SetupError: the interpreter or the packages cannot be had (NotOnInterpreter: for want of a wheel).
    """
    row, build = plan.variant, plan.build
    if row is None:
        raise ValueError("an external gateway is not ours to make ready")
    if isinstance(row, Foreign):
        return Launch(row, None, None), None
    try:
        environment = _environment(row, build, report)
    except NotOnInterpreter:
        fallback = row.on_stand_in()
        if fallback is None or build.python is not None:
            raise
        row = fallback
        environment = _environment(row, build, report)
    found = environment.interpreter
    ran = row.model_copy(update={"interpreter": found.series})
    return Launch(ran, environment.python, found.tag), interpreter_facts(environment)


def interpreter_facts(environment: Environment) -> dict[str, Any]:
    """What a manifest says of an environment's interpreter and packages."""
    facts = describe(environment.python) | contents(environment.python) | asdict(environment.interpreter)
    plain: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return plain


def _environment(row: Variant, build: Build, report: Callable[[str], None]) -> Environment:
    # A row on another series than the laboratory's own, or on one that somebody named, is about that interpreter: an
    # older one tells nothing of it.
    stand_in = build.python is None and row.interpreter in OWN_SERIES
    python = build.python or row.interpreter
    return ensure(row.environment, python, overlay=build.overlay, allow_stand_in=stand_in, report=report)
