"""A row made whole: names looked up, the machine's cores dealt out, its points listed. Nothing is started here."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from experiment.ask.builds import OWN, Build, label_of
from experiment.ask.schema import Config, ConfigError, Foreign, Receive, Shape, Timing, Variant
from experiment.host import CpuPlan, Limits, ShapeRefused, cannot_steer, cpu_plan, topology, usable_cpus

EXTERNAL = "external"
BEFORE_AND_AFTER_S = 9.0
"""Of a point, roughly, beside its timing: starting and stopping, the last answers, the recomputation."""


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
    """One row, ready to run."""

    config: Config
    variant_name: str
    variant: Variant | Foreign | None
    """None for a gateway that is not ours to start."""
    shape_name: str
    shape: Shape | None
    """With `receive` as it runs here."""
    timing_name: str
    timing: Timing
    sessions: tuple[int, ...]
    """The points asked for, of all threads together; empty leaves the choice to a ladder."""
    cpus: CpuPlan | None
    """None for an external gateway: the harness then takes any core."""
    target: Address | None
    infer_port: int
    not_steered: str | None = None
    """Why receive = gateway, which the shape or the person asked for, is not had here."""
    build: Build = OWN
    """What it runs on, where that is not what its table says."""
    hold_stalled_s: float = 0.0
    """So long the load generator spares a session that stands still every time limit, so that it can be looked at."""
    scripted: bool = False
    """Whether the simulator takes scripted behaviours."""

    @property
    def name(self) -> str:
        """The row's, with what it runs on and what is laid over it, where somebody named that."""
        return label_of(self.variant_name, self.build.overlay, self.build)

    @property
    def point_s(self) -> float:
        """How long a point takes, roughly."""
        return self.timing.total_s + BEFORE_AND_AFTER_S

    @property
    def why_sender(self) -> str | None:
        """A sentence where receiving was to be the gateway's work and is not."""
        return self.not_steered and f"receive = sender, though gateway was wanted: {self.not_steered}"

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


def external_plan(config: Config, timing: str, sessions: tuple[int, ...], target: str, infer_port: int) -> Plan:
    """Of a gateway that already runs. Raises ConfigError for a URL that is not as expected."""
    return Plan(
        config=config,
        variant_name=EXTERNAL,
        variant=None,
        shape_name=EXTERNAL,
        shape=None,
        timing_name=timing,
        timing=config.timing(timing),
        sessions=sessions,
        cpus=None,
        target=parse_target(target),
        infer_port=infer_port,
    )


def plan_row(
    config: Config,
    variant_name: str,
    shape_name: str,
    timing: str,
    sessions: tuple[int, ...],
    infer_port: int,
    *,
    harness_shared: bool,
    receive: Receive | None = None,
    build: Build = OWN,
) -> Plan:
    """Of a row of ours. `sessions` counts for each thread, in a shape of threads; `receive` stands in for the shape's,
    `build` for the row's interpreter and packages.

    Raises:
        ConfigError: a name that is not known.
        ShapeRefused: the machine has too few cores for the shape, or the row has not its threads.
    """
    variant, shape = config.variant(variant_name), config.shape(shape_name)
    if isinstance(variant, Foreign):
        build = OWN
    else:
        variant = variant.model_copy(update={"interpreter": build.series or variant.interpreter})
        _check_threads(variant_name, variant, shape_name, shape)
    usable = topology(usable_cpus())
    cpus = cpu_plan(shape.vcpus, shape.mode, usable, harness_shared=harness_shared, threads=shape.threads)
    not_steered = None
    if (receive or shape.receive) == "gateway":
        not_steered = _not_steered(shape, cpus)
        receive = "gateway" if not_steered is None else "sender"
    return Plan(
        config=config,
        variant_name=variant_name,
        variant=variant,
        shape_name=shape_name,
        shape=shape.model_copy(update={"receive": receive or "sender"}),
        timing_name=timing,
        timing=config.timing(timing),
        sessions=tuple(each * (shape.threads or 1) for each in sessions),
        cpus=cpus,
        target=None,
        infer_port=infer_port,
        not_steered=not_steered,
        build=build,
    )


def _not_steered(shape: Shape, cpus: CpuPlan) -> str | None:
    """Why receiving is not the gateway's work at this shape; None where it is."""
    if shape.mode == "quota":
        return "a quota does not hold the kernel's soft interrupts"
    return "the harness shares the gateway's CPUs" if cpus.shared else cannot_steer(cpus.gateway)


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
