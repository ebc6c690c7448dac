"""What was asked for, resolved once against `experiments.toml`: rows, points and ladders, with every default in place.

Everything behind this sees only what it returns.
"""

import os
from dataclasses import dataclass, replace
from typing import get_args

from experiment.ask.asked import NO_LADDER, Ask
from experiment.ask.builds import OWN, Build, interpreters, label_of, laid_over, row_and_overlay, unique
from experiment.ask.plan import EXTERNAL, Plan, external_plan, plan_row
from experiment.ask.schema import Config, ConfigError, Foreign, Ladder, Receive, VerbDefaults
from experiment.host import ShapeRefused


@dataclass(frozen=True, slots=True)
class Row:
    """A variant at a shape, and the points it is to give."""

    label: str
    """Its name in tables and folders: the variant's, with "@shape" where several shapes were asked for."""
    variant: str
    shape: str
    plan: Plan | None
    """None where it is refused."""
    rounds: int = 1
    """How often each of the plan's points is measured."""
    ladder: Ladder | None = None
    """What chooses points after those; None for none."""
    probe: Plan | None = None
    """The short point that says where the ladder begins; None where that is known, or nothing can be seen."""
    refused: str | None = None
    again_of: str | None = None
    """The label of the row that this one repeats (A/A); None for a row of its own."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The rows of one ask, of one timing."""

    config: Config
    ask: Ask
    variants: tuple[str, ...]
    shapes: tuple[str, ...]
    timing: str
    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        """The only one. Raises ConfigError where there are several."""
        row, *others = self.rows
        if others:
            raise ConfigError(f"expected one row on one interpreter, got {row.label}, {others[0].label} …")
        return row


def resolve(config: Config, ask: Ask) -> Resolved:
    """Look every name up, fill in what was not said, and deal out the cores.

    Raises:
        ConfigError: a name or number that is not as expected.
        ShapeRefused: the only row's shape cannot be had here.
    """
    of_verb = config.defaults.verbs.get(ask.verb, VerbDefaults())
    timing = ask.timing or of_verb.timing or config.defaults.timing
    config.timing(timing)
    variants = ask.variants or of_verb.variants or (config.defaults.variant,)
    shapes = ask.shapes or (config.defaults.shape,)
    rounds = of_verb.rounds if ask.rounds is None else ask.rounds
    _check(ask, variants, shapes, rounds)
    sessions = of_verb.sessions if ask.sessions is None else ask.sessions
    ladder = _ladder(config, ask, of_verb)
    infer_port = config.harness.infer_port if ask.infer_port is None else ask.infer_port
    if ask.target is not None:
        plan = external_plan(config, timing, sessions, ask.target, infer_port)
        started = None if ladder is None else _started(ladder, ask, 1.0)
        external = Row(EXTERNAL, EXTERNAL, EXTERNAL, plan, rounds, started)
        return Resolved(config, ask, (EXTERNAL,), (EXTERNAL,), timing, (external,))
    receive = _receive(ask)
    wanted = [(*row, shape) for shape in shapes for row in _built(config, ask, variants)]
    rows: list[Row] = []
    shared = ask.harness == "shared"
    for variant, build, name, shape in wanted:
        label = unique(name if len(shapes) == 1 else f"{name}@{shape}", [row.label for row in rows])
        try:
            plan = plan_row(
                config,
                variant,
                shape,
                timing,
                sessions,
                infer_port,
                harness_shared=shared,
                receive=receive,
                build=build,
            )
        except ShapeRefused as refused:
            if len(wanted) == 1:  # with or without its repeat
                raise
            rows.append(Row(label, variant, shape, None, refused=str(refused)))
            continue
        again_of = next((row.label for row in rows if row.plan == plan and row.again_of is None), None)
        vcpus = config.shape(shape).total_vcpus
        scaled = None if ladder is None else _started(ladder, ask, vcpus)
        probe = None if scaled is None or sessions or ask.start is not None else _probe(config, plan, vcpus)
        rows.append(Row(label, variant, shape, plan, rounds, scaled, probe, again_of=again_of))
    if ask.aa:
        first = rows[0]
        rows.insert(1, replace(first, label=f"{first.label}-again", again_of=first.label))
    return Resolved(config, ask, variants, shapes, timing, tuple(rows))


def _built(config: Config, ask: Ask, variants: tuple[str, ...]) -> list[tuple[str, Build, str]]:
    """Rows × interpreters: the row's name, its build, and its label. A foreign row has neither, and stands once."""
    pythons = interpreters(ask.pythons)
    for_all = laid_over(ask.overlay or (), "WITH")
    found = []
    for text in variants:
        variant, own = row_and_overlay(text)
        is_foreign = isinstance(config.variant(variant), Foreign)
        if is_foreign and own:
            raise ConfigError(f"VARIANTS, {text}: expected one of our rows before the +, {variant} is a foreign one")
        for python in [OWN] if is_foreign else pythons:
            build = OWN if is_foreign else replace(python, overlay=(*for_all, *own))
            found.append((variant, build, label_of(variant, own, build)))
    return found


def resolve_one(config: Config, ask: Ask) -> Plan:
    """The plan of an ask for one variant at one shape. Raises as `resolve` does."""
    row = resolve(config, ask).row
    if row.plan is None:
        raise ShapeRefused(row.refused or f"{row.label} cannot run")
    return row.plan


def _check(ask: Ask, variants: tuple[str, ...], shapes: tuple[str, ...], rounds: int) -> None:
    if ask.target is not None and ask.variants is not None:
        raise ConfigError("TARGET is a gateway that already runs, VARIANT one to be started: give one of the two")
    if ask.target is not None and ask.shapes is not None:
        raise ConfigError("SHAPE cannot be given to a gateway that already runs (TARGET): leave one of the two out")
    if ask.target is not None and ask.receive is not None:
        raise ConfigError("RECEIVE cannot be given to a gateway that already runs (TARGET): leave one of the two out")
    if ask.start is not None and ask.start < 1:
        raise ConfigError(f"START: expected a number of at least 1, got {ask.start}")
    if ask.harness not in (None, "shared"):
        raise ConfigError(f"HARNESS: expected 'shared' or nothing, got {ask.harness!r}")
    if twice := sorted({each for each in shapes if shapes.count(each) > 1}):
        raise ConfigError(f"SHAPE: expected every name once, got {', '.join(twice)} again")
    if ask.target is not None and (ask.pythons or ask.overlay):
        raise ConfigError("PYTHONS and WITH cannot be given to a gateway that already runs (TARGET): leave them out")
    if unset := [name for name in ask.keep_env or () if name not in os.environ]:
        raise ConfigError(f"KEEP_ENV: expected variables that are set, {', '.join(unset)} is not: export it first")
    if rounds < 1:
        raise ConfigError(f"ROUNDS: expected a number of at least 1, got {rounds}")


def _started(ladder: Ladder, ask: Ask, vcpus: float) -> Ladder:
    return ladder.scaled(vcpus) if ask.start is None else ladder.model_copy(update={"start": ask.start})


def _probe(config: Config, plan: Plan, vcpus: float) -> Plan:
    probe = config.probe
    sessions = max(probe.least, round(probe.sessions * vcpus))
    return replace(plan, timing_name=probe.timing, timing=config.timing(probe.timing), sessions=(sessions,))


def _receive(ask: Ask) -> Receive | None:
    known: tuple[Receive, ...] = get_args(Receive)
    for name in known:
        if ask.receive == name:
            return name
    if ask.receive is not None:
        raise ConfigError(f"RECEIVE: expected {' or '.join(known)}, got {ask.receive!r}")
    return None


def _ladder(config: Config, ask: Ask, of_verb: VerbDefaults) -> Ladder | None:
    """The ladder that was named; else the verb's, unless that gives way to listed points."""
    name = ask.ladder
    if name is None:
        name = None if of_verb.sessions_alone and ask.sessions else of_verb.ladder
    return None if name in (None, NO_LADDER) else config.ladder(name)
