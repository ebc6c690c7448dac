"""What a bisection asks: its candidates in order, and by what each is decided. Looks names and versions up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiment.ask import Bisect, Build, Cell, Config, ConfigError, Variant, interpreters, unique
from experiment.setup import ensure, published
from profiles.bisect.halving import decisions
from profiles.bisect.sequential import CostTest, StallTest
from profiles.cliff.reproducer.lost_wakeup import STALLS_PER_FRAME
from profiles.cliff.run import FRAMES_PER_S

INSTALL_S = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """As typed; None where nothing was."""

    package: str | None = None
    oldest: str | None = None
    newest: str | None = None
    pythons: tuple[str, ...] | None = None
    cell: str | None = None
    cost: float | None = None
    """The ratio to be told from 1: 1.05 asks whether it is 5 % dearer."""
    variant: str | None = None

    @classmethod
    def of(cls, evidence: Mapping[str, Any]) -> "Asked":
        """As stored by a bisection. Raises ConfigError where it is none."""
        if "asked" not in evidence:
            raise ConfigError("RESUME: expected the folder of a bisection, results/<run>")
        stored = evidence["asked"]
        return cls(**{**stored, "pythons": None if stored["pythons"] is None else tuple(stored["pythons"])})


@dataclass(frozen=True, slots=True)
class Candidate:
    """One release, or one interpreter."""

    label: str
    build: Build


@dataclass(frozen=True, slots=True)
class Question:
    """Candidates in order, what is run on each, and the test that decides it."""

    asked: Asked
    settings: Bisect
    candidates: tuple[Candidate, ...]
    cell: Cell | None
    """Of [cliff.cells]: the question is about stalls; None: about the cost of `variant`."""
    variant: str
    stalls: StallTest
    cost: CostTest | None

    @property
    def labels(self) -> list[str]:
        """Of the candidates, in order."""
        return [each.label for each in self.candidates]

    @property
    def subject(self) -> str:
        """What is run, in words."""
        what = self.asked.package or "CPython"
        if self.cost is None:
            return f"{what}, cell {self.asked.cell or self.settings.cell} of [cliff.cells]: does it stall?"
        return f"{what}, row {self.variant}: does it cost {self.cost.ratio:g} × {self.labels[0]}?"

    def announce(self, point_s: float) -> str:
        """How many decisions, and how long they take at least; `point_s` is how long a point takes."""
        many = decisions(len(self.candidates))
        if self.cost is not None:
            each_s = INSTALL_S + 2 * point_s * max(2, self.cost.least_pairs)
            how = f"pairs of points, {self.cost.least_pairs} to {self.settings.pairs} for each"
            error = f"about {self.cost.error:g}"
        else:
            each_s = INSTALL_S + self.stalls.frames_if_sound / FRAMES_PER_S
            how = f"{self.stalls.frames_if_sound:,.0f} frames without a stall say of one that it is sound"
            error = f"{self.stalls.error:g}"
        return (
            f"{self.subject} {len(self.candidates)} candidates, {self.labels[0]} to {self.labels[-1]}: {many} "
            f"decisions; {how}; error of each {error}; about {many * each_s / 60:.0f} min"
        )


def pose(config: Config, asked: Asked, report: Callable[[str], None]) -> Question:
    """Look everything up; versions are asked of the index.

    Raises:
        ConfigError: what was asked for is not as expected.
        SetupError: an interpreter, or the index, cannot be had.
    """
    if config.bisect is None or config.cliff is None:
        raise ConfigError("experiments.toml: table [bisect] or [cliff] is missing")
    settings = config.bisect
    _check(asked)
    cell = None
    variant = asked.variant or config.defaults.variant
    if asked.cost is None:
        name = asked.cell or settings.cell
        if name not in config.cliff.cells:
            raise ConfigError(f"CELL: expected one of {', '.join(config.cliff.cells)}, got {name!r}")
        cell = config.cliff.cells[name]
        environment, own = cell.environment, cell.interpreter
    else:
        row = config.variant(variant)
        if not isinstance(row, Variant):
            raise ConfigError(f"VARIANT: expected a row of ours, got {variant}")
        environment, own = row.environment, row.interpreter
    builds = interpreters(asked.pythons)
    if asked.package is None:
        labels: list[str] = []
        for build in builds:
            labels.append(unique(str(build.label), labels))
        candidates = tuple(map(Candidate, labels, builds))
    else:
        oldest, newest = asked.oldest or "", asked.newest or ""
        (build,) = builds
        python = ensure(environment, build.python or own, allow_stand_in=False, report=report).python
        report(f"asking the index for versions of {asked.package} from {oldest} to {newest}")
        versions = published(python, asked.package, oldest, newest, report)
        candidates = tuple(
            Candidate(version, replace(build, overlay=(f"{asked.package}=={version}",))) for version in versions
        )
    stalls = StallTest(STALLS_PER_FRAME, settings.fraction * STALLS_PER_FRAME, settings.error)
    cost = None
    if asked.cost is not None:
        cost = CostTest(asked.cost, settings.cost_error, settings.least_spread, settings.least_pairs)
    return Question(asked, settings, candidates, cell, variant, stalls, cost)


def _check(asked: Asked) -> None:
    if asked.package is None:
        if len(asked.pythons or ()) < 2:
            raise ConfigError("expected PACKAGE, FROM and TO, or at least two PYTHONS in order")
        if len(set(asked.pythons or ())) < len(asked.pythons or ()):
            raise ConfigError("PYTHONS: expected every interpreter once")
        if asked.oldest or asked.newest:
            raise ConfigError("FROM and TO are versions of a PACKAGE: name it, or leave them out")
    elif not (asked.oldest and asked.newest) or asked.oldest == asked.newest:
        raise ConfigError(f"expected two versions, FROM the older and TO the newer, with PACKAGE={asked.package}")
    elif len(asked.pythons or ()) > 1:
        raise ConfigError("expected one of PYTHONS with a PACKAGE: one thing is bisected at a time")
    if asked.cost is not None and (asked.cell is not None or asked.cost <= 0 or asked.cost == 1):
        raise ConfigError(f"COST: expected a ratio such as 1.05, with a VARIANT and without a CELL, got {asked.cost:g}")
