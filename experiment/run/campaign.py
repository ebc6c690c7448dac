"""What a campaign is: rows of one timing, each with a plan and a search of its own. Looks names up; starts nothing."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiment.ask.plan import EXTERNAL, Plan, Request, make_plan
from experiment.ask.schema import Config, ConfigError
from experiment.host import ShapeRefused
from experiment.run.point import point_seconds
from experiment.search.points import Search
from experiment.store.folders import read_json

CONFORMANCE_S = 25.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asked for, in full: kept in the manifest, so that an interrupted run can be taken up again."""

    verb: str
    variants: tuple[str, ...]
    shapes: tuple[str, ...]
    timing: str
    sessions: str | None = None
    """The listed points, as typed."""
    rounds: int = 1
    ladder: str | None = None
    """The ladder's name; None for the listed points alone."""
    target: str | None = None
    harness: str | None = None
    infer_port: int | None = None
    lenient_shapes: bool = False
    """Whether a shape that is not in the file is a row's refusal rather than a mistake."""

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "Ask":
        """From a manifest."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
        }
        return cls(**{key: value for key, value in values.items() if key in known})


@dataclass(frozen=True, slots=True)
class Row:
    """A variant at a shape."""

    label: str
    """Its name in tables and folders: the variant's, with "@shape" where a campaign has several shapes."""
    variant: str
    shape: str
    plan: Plan | None
    """None where it is refused."""
    search: Search
    refused: str | None = None

    @property
    def point_s(self) -> float:
        """How long one point takes."""
        return 0.0 if self.plan is None else point_seconds(self.plan)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One or several rows, ready to run."""

    config: Config
    results: Path
    ask: Ask
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        """For the run's folder."""
        rows = self.ask.variants[0] if len(self.ask.variants) == 1 else f"{len(self.ask.variants)}-rows"
        shapes = self.ask.shapes[0] if len(self.ask.shapes) == 1 else f"{len(self.ask.shapes)}-shapes"
        verb = [] if self.ask.verb == "experiment" else [self.ask.verb]
        return "-".join([*verb, rows, shapes, self.ask.timing])

    @property
    def alone(self) -> bool:
        """Whether it has a single row, whose trouble is the campaign's."""
        return len(self.rows) == 1

    def seconds(self) -> tuple[float, float, float]:
        """How long it takes, roughly: with typical ceilings, low and high, and at most."""
        totals = [0.0, 0.0, 0.0]
        for row in self.rows:
            if row.plan is not None:
                for place, points in enumerate(row.search.points()):
                    totals[place] += CONFORMANCE_S + points * row.point_s
        return totals[0], totals[1], totals[2]


def make_campaign(config: Config, ask: Ask, results: Path) -> Campaign:
    """Look every name up and deal out the cores.

    Raises:
        ConfigError: a name or number that is not as expected.
        ShapeRefused: the only row's shape cannot be had here.
    """
    config.timing(ask.timing)
    for name, given in (("VARIANTS", ask.variants), ("SHAPE", ask.shapes)):
        if twice := sorted({each for each in given if given.count(each) > 1}):
            raise ConfigError(f"{name}: expected every name once, got {', '.join(twice)} again")
    if ask.rounds < 1:
        raise ConfigError(f"ROUNDS: expected a number of at least 1, got {ask.rounds}")
    ladder = None if ask.ladder is None else config.ladder(ask.ladder)
    pairs = [(variant, shape) for shape in ask.shapes for variant in ask.variants]
    rows = []
    for variant, shape in pairs:
        external = ask.target is not None
        label = EXTERNAL if external else variant if len(ask.shapes) == 1 else f"{variant}@{shape}"
        request = Request(
            results,
            variant=None if external else variant,
            shape=None if external else shape,
            timing=ask.timing,
            sessions=ask.sessions,
            target=ask.target,
            harness=ask.harness,
            infer_port=ask.infer_port,
        )
        try:
            plan = make_plan(config, request)
        except (ShapeRefused, ConfigError) as refused:
            unknown_shape = ask.lenient_shapes and shape not in config.shapes
            if len(pairs) == 1 or not (unknown_shape or isinstance(refused, ShapeRefused)):
                raise
            why = f"there is no shape {shape} yet" if unknown_shape else str(refused)
            rows.append(Row(label, variant, shape, None, Search(), refused=why))
            continue
        scaled = None if ladder is None else ladder.scaled(1.0 if plan.shape is None else plan.shape.total_vcpus)
        rows.append(Row(label, plan.variant_name, plan.shape_name, plan, Search(plan.sessions, ask.rounds, scaled)))
    return Campaign(config, results, ask, tuple(rows))


def names(text: str | None, default: str) -> tuple[str, ...]:
    """A list as typed: "gil,mt" or "gil mt"."""
    return tuple((text or default).replace(",", " ").split()) or (default,)


def asked(folder: Path) -> Ask:
    """What a stored run was asked for. Raises ConfigError where it is no run's folder."""
    manifest = read_json(folder / "manifest.json")
    if manifest is None or "ask" not in manifest:
        raise ConfigError(f"RESUME: expected the folder of an interrupted run, results/<run>, got {folder}")
    return Ask.of(manifest["ask"])
