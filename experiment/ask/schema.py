"""The tables of an experiment as typed values, checked when they are made. Pure: no file is read here."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from experiment.ask.studies import Bisect, Cliff, Collector, Faults, Overload, Sharing
from experiment.ask.table import Count, Positive, Series, Table

T = TypeVar("T")


class ConfigError(ValueError):
    """`experiments.toml`, or a name that should be in it, is wrong: says what was expected and what came."""


class VerbDefaults(Table):
    """What one verb takes instead, where nothing is said."""

    variants: tuple[str, ...] | None = None
    timing: str | None = None
    sessions: tuple[Count, ...] = ()
    """Points that are measured before the ladder."""
    sessions_alone: bool = False
    """Whether points that are named stand alone, without the ladder."""
    rounds: Count = 1
    ladder: str | None = None
    """None: listed points alone."""


class Defaults(Table):
    """What a person gets who sets no option."""

    variant: str
    shape: str
    timing: str
    verbs: dict[str, VerbDefaults] = Field(default_factory=dict)


class Slo(Table):
    """The limits of a PASS. Times in ms; `failure_ratio` is failures ÷ (partials + failures)."""

    newest_p50_ms: Positive
    newest_p95_ms: Positive
    oldest_p50_ms: Positive
    oldest_p95_ms: Positive
    failure_ratio: Annotated[float, Field(ge=0, lt=1)]


class Harness(Table):
    """Where simulator and load generator run, and the lateness past which a point is INVALID."""

    environment: str
    interpreter: str
    share: Annotated[float, Field(gt=0, le=1)]
    """Of a CPU: as many load workers and simulator processes are started as keep each at or below it."""
    loadgen_us: Positive
    simulator_us: Positive
    """CPU in µs per session-second, until a point on this machine has said it."""
    seed: int
    infer_port: Annotated[int, Field(ge=1, le=65535)]
    send_lateness_p99_ms: Positive
    simulator_overshoot_p99_ms: Positive


class Simulator(Table):
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


class Timing(Table):
    """Phases of a point in seconds, PROTOCOL "Load"."""

    ramp_s: Positive
    spread_s: Annotated[float, Field(ge=0)]
    warmup_s: Annotated[float, Field(ge=0)]
    measure_s: Positive
    burst_frames: Count = 1
    """Frames that a session sends at once; above 1 it is no load of the contract, and gives no ceiling."""

    @property
    def total_s(self) -> float:
        """From the first connect to the end of the measured window."""
        return self.ramp_s + self.spread_s + self.warmup_s + self.measure_s

    def arguments(self) -> list[str]:
        """As options of `python -m loadgen`."""
        return _options(self)


Receive = Literal["sender", "gateway"]
"""Whose CPUs do the kernel's work of receiving. On plain loopback the sender's do; "gateway": the gateway's, as with a
network card, where that can be had (PROTOCOL, "Who pays for receiving")."""


class Shape(Table):
    """What the gateway is given; with `threads`, what each of its serving threads is given, on a CPU of its own."""

    vcpus: Positive
    mode: Literal["cpuset", "quota"]
    memory_mib: Count
    period_ms: Positive | None = None
    threads: Count | None = None
    receive: Receive = "sender"

    @property
    def total_vcpus(self) -> float:
        """Of all threads together."""
        return self.vcpus * (self.threads or 1)

    @property
    def loops(self) -> int:
        """Event loops that a row with one for each vCPU has."""
        return self.threads or max(1, math.ceil(self.vcpus))

    def model_post_init(self, _: object) -> None:
        """A quota has a period, a cpuset has whole cores."""
        if self.mode == "quota" and self.period_ms is None:
            raise ValueError("period_ms: expected the CFS period in ms for mode quota, got none")
        if self.mode == "cpuset" and (self.period_ms is not None or self.vcpus != int(self.vcpus)):
            raise ValueError("mode cpuset takes whole vcpus and no period_ms")
        if self.receive == "gateway" and self.mode == "quota":
            raise ValueError(
                "receive: expected sender for mode quota, which does not hold soft interrupts, got gateway"
            )
        if self.mode == "cpuset" and self.threads is not None:
            raise ValueError("threads: only a quota can be given to each thread")


class Ladder(Table):
    """How the points of an experiment are chosen: `experiment.search.ladder`."""

    start: Count
    growth: Annotated[float, Field(gt=1)]
    points: Count
    most: Count
    """No rung is higher."""
    confirm: bool
    """Whether the edge is repeated until it is confirmed ↔ solid fail."""

    def scaled(self, vcpus: float) -> "Ladder":
        """The same ladder for a gateway of so many vCPUs: `start` is for one."""
        return self.model_copy(update={"start": max(1, min(self.most, round(self.start * vcpus)))})


class Probe(Table):
    """A short point at a small load, before a ladder: what a session-second costs there says where to begin."""

    timing: str
    sessions: Count
    """For one vCPU."""
    least: Count
    """For a fraction of one: with a handful of sessions fixed work is most of the cost."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """Of the sessions that the vCPUs would carry at that cost: the first rung."""


class StandIn(Table):
    """What a row takes where only an older free-threaded interpreter can be had, for which its own has no wheels."""

    environment: str
    loop: Literal["asyncio"]


_FACTORS = (
    *("server", "framework", "websocket", "runtime", "runtime_threads", "runtime_blocking_threads", "task_impl"),
    *("receive_delay_us", "collector", "reading", "look_interval_ms", "most_sessions", "most_inferences"),
)
"""Those that a row may leave to its host."""


class Variant(Table):
    """One row: a host of the session core and its factors. A factor that is absent is not the host's."""

    about: str
    module: str
    interpreter: Series
    environment: str
    loop: Literal["asyncio", "uvloop", "epoll", "none"]
    loops: Count | Literal["vcpus"] = 1
    """Event loops: threads on a free-threaded build, processes on a GIL build; "vcpus": as many as the shape has."""
    transport: Literal["h2", "h1"]
    server: Literal["granian", "uvicorn", "hypercorn"] | None = None
    """The ASGI server, for a host that takes one."""
    framework: Literal["fastapi", "none"] | None = None
    """What the ASGI application is written in."""
    websocket: Literal["websockets-sansio", "websockets-sync", "wsproto"] | None = None
    """The WebSocket implementation, of a host that has several."""
    runtime: Literal["st", "mt"] | None = None
    """Granian's runtime mode."""
    runtime_threads: Count | None = None
    """Granian's own (Rust) threads for each event loop."""
    runtime_blocking_threads: Count | None = None
    """The most of Granian's (Rust) threads for blocking work, for each event loop; 512 of its own choice."""
    task_impl: Literal["asyncio", "rust"] | None = None
    """Granian's task implementation."""
    receive_delay_us: Positive | None = None
    """The amplifier: longest spin between calling `receive()` and awaiting it."""
    collector: Literal["raised", "frozen", "off"] | None = None
    """How Python's garbage collector is set: its threshold a hundred times higher, what lives at the start left out, or
    off."""
    reading: Literal["always", "ticks"] | None = None
    """When a host whose transport can stop reading reads a session's socket: always, or shortly before each tick."""
    look_interval_ms: Positive | None = None
    """How often a draining host looks at a socket between ticks."""
    most_sessions: Count | None = None
    """Admission: how many WebSockets are let in at once."""
    most_inferences: Count | None = None
    """Admission: nobody is let in while as many requests are in flight."""
    breaks: list[str] = Field(default_factory=list)
    """Rules of the contract, by name, that its server library breaks (docs/adding-a-variant.md says with what proof):
    measured nevertheless, and always labelled so."""
    stand_in: StandIn | None = None
    """None: a row whose environment has no wheel for the stand-in does not run there."""

    def on_stand_in(self) -> "Variant | None":
        """The row as it runs on an older free-threaded interpreter; None where it does not."""
        return None if self.stand_in is None else self.model_copy(update=self.stand_in.model_dump())

    def arguments(self, vcpus: int) -> list[str]:
        """The row's factors as options of its host module, where a row with a loop for each vCPU has `vcpus`."""
        loops = vcpus if self.loops == "vcpus" else self.loops
        options = ["--loop", self.loop, "--loops", str(loops), "--transport", self.transport]
        for name in _FACTORS:
            if (value := getattr(self, name)) is not None:
                options += [f"--{name.replace('_', '-')}", str(value)]
        return options


class Foreign(Table):
    """A gateway that is not ours, as a row: started by a command line; pinned, measured and judged like the others.

    `{port}` and `{inference_url}` in the command and in the values of `env` are filled in.
    """

    about: str
    command: Annotated[list[str], Field(min_length=1)]
    health: Annotated[str, Field(pattern="^/")] = "/health"
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables beside the few of the user's that every role gets (`experiment.host.environment`)."""
    stop: str | None = None
    """A shell command that stops it, `{pid}` being its process; SIGTERM without one. Its whole group is ended after."""
    breaks: list[str] = Field(default_factory=list)
    """Rules of the contract, by name, that it is known to break: measured nevertheless, and always labelled so."""

    def filled(self, port: int, inference_url: str) -> tuple[list[str], dict[str, str]]:
        """Command line and environment of one start."""

        def fill(text: str) -> str:
            return text.replace("{port}", str(port)).replace("{inference_url}", inference_url)

        return [fill(word) for word in self.command], {name: fill(value) for name, value in self.env.items()}


def _options(table: Table) -> list[str]:
    fields = table.model_dump().items()
    return [text for name, value in fields for text in (f"--{name.replace('_', '-')}", str(value))]


class Config(Table):
    """The whole file."""

    defaults: Defaults
    slo: Slo
    harness: Harness
    simulator: Simulator
    timings: dict[str, Timing]
    shapes: dict[str, Shape]
    ladders: dict[str, Ladder]
    probe: Probe
    variants: dict[str, Variant]
    foreign: dict[str, Foreign] = Field(default_factory=dict)
    cliff: Cliff | None = None
    survey: Cliff | None = None
    bisect: Bisect | None = None
    collector: Collector | None = None
    sharing: Sharing | None = None
    faults: Faults | None = None
    overload: Overload | None = None

    def model_post_init(self, _: object) -> None:
        """A name is one row's."""
        if both := sorted(self.variants.keys() & self.foreign.keys()):
            raise ValueError(f"rows of [variants] and of [foreign] have one name: {', '.join(both)}")

    def variant(self, name: str) -> Variant | Foreign:
        """The row of that name; ConfigError lists the known ones."""
        rows: dict[str, Variant | Foreign] = {**self.variants, **self.foreign}
        return _known(rows, name, "VARIANT", "variant")

    def shape(self, name: str) -> Shape:
        """The shape of that name; ConfigError lists the known ones."""
        return _known(self.shapes, name, "SHAPE", "shape")

    def timing(self, name: str) -> Timing:
        """The timing of that name; ConfigError lists the known ones."""
        return _known(self.timings, name, "TIMING", "timing")

    def ladder(self, name: str) -> Ladder:
        """The ladder of that name; ConfigError lists the known ones."""
        return _known(self.ladders, name, "LADDER", "ladder")


def _known(table: Mapping[str, T], name: str, option: str, what: str) -> T:
    try:
        return table[name]
    except KeyError:
        raise ConfigError(
            f"unknown {what} {name!r}; known: {', '.join(table)}. Set {option}=<one of these>, or add a row to "
            f"experiments.toml"
        ) from None
