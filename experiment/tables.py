"""The tables of an experiment as typed values, checked when they are made. Pure: no file is read here."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
T = TypeVar("T")


class ConfigError(ValueError):
    """`experiments.toml`, or a name that should be in it, is wrong: says what was expected and what came."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Defaults(_Table):
    """What a person gets who sets no option."""

    variant: str
    shape: str
    timing: str
    ladder: str


class Slo(_Table):
    """The limits of a PASS. Times in ms; `failure_ratio` is failures ÷ (partials + failures)."""

    newest_p50_ms: Positive
    newest_p95_ms: Positive
    oldest_p50_ms: Positive
    oldest_p95_ms: Positive
    failure_ratio: Annotated[float, Field(ge=0, lt=1)]


class Harness(_Table):
    """Where simulator and load generator run, and the lateness past which a point is INVALID."""

    environment: str
    interpreter: str
    loadgen_workers: Count
    seed: int
    infer_port: Annotated[int, Field(ge=1, le=65535)]
    send_lateness_p99_ms: Positive
    simulator_overshoot_p99_ms: Positive


class Simulator(_Table):
    """The service-time model, PROTOCOL "Inference endpoint"."""

    batch_wait_max_ms: Annotated[float, Field(ge=0)]
    model_delay_ms: Positive
    sigma: Annotated[float, Field(ge=0)]
    slow_probability: Annotated[float, Field(ge=0, le=1)]
    slow_factor: Positive
    max_concurrent: Count

    def arguments(self) -> list[str]:
        """As options of `python -m simulator`."""
        return _options(self)


class Timing(_Table):
    """Phases of a point in seconds, PROTOCOL "Load"."""

    ramp_s: Positive
    spread_s: Annotated[float, Field(ge=0)]
    warmup_s: Annotated[float, Field(ge=0)]
    measure_s: Positive

    @property
    def total_s(self) -> float:
        """From the first connect to the end of the measured window."""
        return self.ramp_s + self.spread_s + self.warmup_s + self.measure_s

    def arguments(self) -> list[str]:
        """As options of `python -m loadgen`."""
        return _options(self)


class Shape(_Table):
    """What the gateway is given."""

    vcpus: Positive
    mode: Literal["cpuset", "quota"]
    memory_mib: Count
    period_ms: Positive | None = None

    def model_post_init(self, _: object) -> None:
        """A quota has a period, a cpuset has whole cores."""
        if self.mode == "quota" and self.period_ms is None:
            raise ValueError("period_ms: expected the CFS period in ms for mode quota, got none")
        if self.mode == "cpuset" and (self.period_ms is not None or self.vcpus != int(self.vcpus)):
            raise ValueError("mode cpuset takes whole vcpus and no period_ms")


class Ladder(_Table):
    """How the points of an experiment are chosen: `experiment.ladder`."""

    start: Count
    growth: Annotated[float, Field(gt=1)]
    points: Count


class Variant(_Table):
    """One row: a host of the session core and its factors."""

    about: str
    module: str
    interpreter: Literal["3.14", "3.14t"]
    environment: str
    loop: Literal["asyncio", "uvloop"]
    transport: Literal["h2"]

    def arguments(self) -> list[str]:
        """The row's factors as options of its host module."""
        return ["--loop", self.loop, "--transport", self.transport]


def _options(table: _Table) -> list[str]:
    fields = table.model_dump().items()
    return [text for name, value in fields for text in (f"--{name.replace('_', '-')}", str(value))]


class Config(_Table):
    """The whole file."""

    defaults: Defaults
    slo: Slo
    harness: Harness
    simulator: Simulator
    timings: dict[str, Timing]
    shapes: dict[str, Shape]
    ladders: dict[str, Ladder]
    variants: dict[str, Variant]

    def variant(self, name: str) -> Variant:
        """The row of that name; ConfigError lists the known ones."""
        return _known(self.variants, name, "VARIANT", "variant")

    def shape(self, name: str) -> Shape:
        """The shape of that name; ConfigError lists the known ones."""
        return _known(self.shapes, name, "SHAPE", "shape")

    def timing(self, name: str) -> Timing:
        """The timing of that name; ConfigError lists the known ones."""
        return _known(self.timings, name, "TIMING", "timing")

    def ladder(self, name: str) -> Ladder:
        """The ladder of that name; ConfigError lists the known ones."""
        return _known(self.ladders, name, "LADDER", "ladder")


def _known(table: dict[str, T], name: str, option: str, what: str) -> T:
    try:
        return table[name]
    except KeyError:
        raise ConfigError(
            f"unknown {what} {name!r}; known: {', '.join(table)}. Set {option}=<one of these>, or add a row to "
            f"experiments.toml"
        ) from None
