"""What was asked for, made whole: names looked up, the machine's cores dealt out, nothing started yet."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from experiment.ask.schema import Config, ConfigError, Foreign, Ladder, Shape, Timing, Variant
from experiment.host import CpuPlan, Limits, ShapeRefused, cpu_plan, usable_cpus

EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Request:
    """The options of a person; None means the default of `experiments.toml`."""

    results: Path
    variant: str | None = None
    shape: str | None = None
    timing: str | None = None
    sessions: str | None = None
    """One number of sessions or a list, as typed: "300" or "200,300,400"; for each thread, in a shape of threads."""
    target: str | None = None
    """The URL of a gateway that somebody else started."""
    harness: str | None = None
    infer_port: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gateway listens."""

    host: str
    port: int

    @property
    def websocket_url(self) -> str:
        """Where sessions connect."""
        return f"ws://{self.host}:{self.port}/ws/stt"


@dataclass(frozen=True, slots=True)
class Plan:
    """One experiment, ready to run."""

    config: Config
    results: Path
    variant_name: str
    variant: Variant | Foreign | None
    """None for a gateway that is not ours to start."""
    shape_name: str
    shape: Shape | None
    timing_name: str
    timing: Timing
    ladder: Ladder
    sessions: tuple[int, ...]
    """The points asked for; empty leaves the choice to the ladder."""
    cpus: CpuPlan | None
    """None for an external gateway: the harness then takes any core."""
    target: Address | None
    infer_port: int
    hold_stalled_s: float = 0.0
    """So long the load generator spares a session that stands still every time limit, so that it can be looked at."""

    @property
    def name(self) -> str:
        """For the run's folder and titles."""
        return f"{self.variant_name}-{self.shape_name}-{self.timing_name}"

    @property
    def vcpus(self) -> int:
        """Event loops that a row with one for each vCPU has."""
        return 1 if self.shape is None else self.shape.loops

    @property
    def gateway_limits(self) -> Limits:
        """What the gateway's group is given."""
        if self.shape is None or self.cpus is None:
            raise ValueError("an external gateway has no limits of ours")
        whole = self.shape.mode == "quota" and self.shape.threads is None
        return Limits(
            cpus=self.cpus.gateway,
            quota_vcpus=self.shape.vcpus if whole else None,
            period_ms=self.shape.period_ms if whole else None,
            memory_bytes=self.shape.memory_mib * 2**20,
        )

    @property
    def thread_limits(self) -> tuple[Limits, ...]:
        """What each serving thread's group is given; empty where only the whole gateway has limits."""
        if self.shape is None or self.cpus is None or self.shape.threads is None:
            return ()
        shape, cpus = self.shape, sorted(self.cpus.gateway)
        return tuple(Limits(frozenset({cpu}), shape.vcpus, shape.period_ms) for cpu in cpus)

    @property
    def harness_limits(self) -> Limits:
        """What the groups of simulator and load generator are given."""
        return Limits(cpus=None if self.cpus is None else self.cpus.harness)


def make_plan(config: Config, request: Request) -> Plan:
    """Look every name up and deal out the cores.

    Raises:
        ConfigError: a name, number or URL that is not as expected.
        ShapeRefused: the machine has too few cores for the shape.
    """
    defaults = config.defaults
    timing_name = request.timing or defaults.timing
    timing = config.timing(timing_name)
    target = None if request.target is None else parse_target(request.target)
    if target is not None and request.variant is not None:
        raise ConfigError("TARGET is a gateway that already runs, VARIANT one to be started: give one of the two")
    if target is not None and request.shape is not None:
        raise ConfigError("SHAPE cannot be given to a gateway that already runs (TARGET): leave one of the two out")
    if request.harness not in (None, "shared"):
        raise ConfigError(f"HARNESS: expected 'shared' or nothing, got {request.harness!r}")
    variant_name = request.variant or defaults.variant
    variant = None if target else config.variant(variant_name)
    shape_name = request.shape or defaults.shape
    shape = None if target else config.shape(shape_name)
    cpus = None
    if shape is not None and isinstance(variant, Variant):
        _check_threads(variant_name, variant, shape_name, shape)
    if shape is not None:
        shared = request.harness == "shared"
        cpus = cpu_plan(shape.vcpus, shape.mode, usable_cpus(), harness_shared=shared, threads=shape.threads)
    each = 1 if shape is None else shape.threads or 1
    return Plan(
        config=config,
        results=request.results,
        variant_name=EXTERNAL if target else variant_name,
        variant=variant,
        shape_name=EXTERNAL if target else shape_name,
        shape=shape,
        timing_name=timing_name,
        timing=timing,
        ladder=config.ladder(defaults.ladder),
        sessions=tuple(sessions * each for sessions in _parse_sessions(request.sessions)),
        cpus=cpus,
        target=target,
        infer_port=config.harness.infer_port if request.infer_port is None else request.infer_port,
    )


def _check_threads(name: str, variant: Variant, shape_name: str, shape: Shape) -> None:
    """Raises ShapeRefused for a row that cannot have as many serving threads as the shape gives limits to."""
    if shape.threads is None:
        return
    loops = shape.loops if variant.loops == "vcpus" else variant.loops
    threads = loops if variant.interpreter.endswith("t") or loops == 1 else 1
    if threads != shape.threads:
        raise ShapeRefused(
            f"{shape_name} gives {shape.threads} serving threads a CPU and a quota each; {name} has {threads} there "
            f'({loops} loops, {"threads" if threads == loops else "processes"}). Take one with loops = "vcpus" on 3.14t'
        )


def parse_target(url: str) -> Address:
    """`ws://HOST:PORT`, with or without the path of the contract, or the same with http."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("ws", "http") or not parts.hostname or not port or parts.path not in ("", "/", "/ws/stt"):
        raise ConfigError(f"TARGET: expected ws://HOST:PORT of a gateway, got {url!r}")
    return Address(parts.hostname, port)


def _parse_sessions(text: str | None) -> tuple[int, ...]:
    if not text:
        return ()
    try:
        numbers = tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"SESSIONS: expected one number or a list such as 200,300,400, got {text!r}")
    return numbers
