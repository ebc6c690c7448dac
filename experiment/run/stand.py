"""The test stand: starts simulator, gateway and load generator, each in its group, and stops them. Measures nothing."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from experiment.ask import Address, Foreign, Plan
from experiment.host import Command, HarnessLayout, Limits, Network, Role, Run, ShapeRefused, named_threads
from experiment.run.launch import Launch
from experiment.run.probe import get_json, wait_healthy
from experiment.setup import CHECKOUT
from simulator.port import free_port

SIMULATOR_START_S = 60.0
"""The first start compiles the stub's arithmetic, which takes seconds; later ones find it cached."""
GATEWAY_START_S = 30.0
STOP_S = 2.0
THREAD_NAME = "loop-"
"""What a gateway calls its serving threads, each with its number."""
LOOPBACK = "127.0.0.1"
ONE_OF_EACH = HarnessLayout((None,), (None,))
HARNESS_PYTHON = Path(sys.executable)
"""The runner itself runs in the harness environment."""


class Stand:
    """The roles of one point, or of the conformance suite. Leaving it ends them all, groups included.

    `steered`: whether they live in a network of their own where the shape says `receive = gateway`; else they are on
    the machine's loopback, which everybody reaches."""

    def __init__(self, run: Run, plan: Plan, launch: Launch | None, logs: Path, *, steered: bool = False) -> None:
        self._run = run
        self._plan = plan
        self._launch = launch
        self._logs = logs
        self._steered = steered and plan.shape is not None and plan.shape.receive == "gateway"
        self._network: Network | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises ShapeRefused."""
        if self._steered and self._plan.cpus is not None:
            self._network = Network(self._plan.cpus.gateway)
            self._stack.callback(self._network.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def start(
        self,
        role: str,
        argv: Sequence[str],
        limits: Limits,
        *,
        env: Mapping[str, str] | None = None,
        stop: str | None = None,
        pipe_stdout: bool = False,
    ) -> Role:
        """Start one role; its log is `<logs>/<role>.log`. `env` comes on top of what every role gets."""
        log = self._logs / f"{role}.log"
        command = Command(argv, cwd=CHECKOUT, log=log, env=env or {}, pipe_stdout=pipe_stdout, stop=stop)
        group = self._run.group(role, limits)
        with self._entered():
            started = self._run.start(command, group)
        self._stack.push_async_callback(started.stop, STOP_S)
        return started

    def _entered(self) -> AbstractContextManager[None]:
        return nullcontext() if self._network is None else self._network.entered()

    def free_port(self) -> int:
        """One that nobody listens on where the roles live."""
        with self._entered():
            return free_port()

    async def get_json(self, port: int, path: str) -> dict[str, Any]:
        """What a role of ours says. Raises ProbeError."""
        return await get_json(LOOPBACK, port, path, self._network)

    async def simulator(self, port: int, layout: HarnessLayout = ONE_OF_EACH) -> Role:
        """The inference server, healthy on `port`. Raises ProbeError when it does not get there."""
        config = self._plan.config
        role = self.start(
            "simulator",
            [
                *(str(HARNESS_PYTHON), "-m", "simulator", "--port", str(port), "--seed", str(config.harness.seed)),
                *config.simulator.arguments(),
                *(["--control"] if self._plan.scripted else []),
                *_pinned("--processes", layout.simulators),
            ],
            self._plan.harness_limits,
        )
        await self._healthy(role, Address(LOOPBACK, port), SIMULATOR_START_S)
        return role

    async def gateway(self, inference_port: int) -> tuple[Role, Address]:
        """The row's gateway, healthy. Raises ProbeError when it does not get there."""
        if self._launch is None:
            raise ValueError("an external gateway is not ours to start")
        address = Address(LOOPBACK, self.free_port())
        argv, env = self._launch.command(address.port, f"http://{LOOPBACK}:{inference_port}", self._plan.vcpus)
        row = self._launch.row
        stop = row.stop if isinstance(row, Foreign) else None
        role = self.start("gateway", argv, self._plan.gateway_limits, env=env, stop=stop)
        await self._healthy(role, address, GATEWAY_START_S, self._launch.health)
        self._place_threads(role)
        return role, address

    def _place_threads(self, role: Role) -> None:
        """Put each serving thread into a group of its own, where the shape has it so."""
        limits = self._plan.thread_limits
        if not limits:
            return
        threads = named_threads(role.group.pids(), THREAD_NAME)
        if len(threads) != len(limits):
            raise ShapeRefused(
                f"{self._plan.shape_name} needs {len(limits)} threads named {THREAD_NAME}0, {THREAD_NAME}1 …; "
                f"{self._plan.variant_name} has {len(threads)}. Take a row of threads, on CPython 3.14 or newer"
            )
        role.group.place_threads(list(zip(threads, limits, strict=True)))

    def loadgen(self, gateway: Address, sessions: int, out: Path, layout: HarnessLayout = ONE_OF_EACH) -> Role:
        """The load generator, started; its standard output is piped."""
        config = self._plan.config
        return self.start(
            "loadgen",
            [
                *(str(HARNESS_PYTHON), "-m", "loadgen", "--url", gateway.websocket_url, "--sessions", str(sessions)),
                *("--seed", str(config.harness.seed), *_pinned("--workers", layout.load)),
                *("--hold-stalled-s", str(self._plan.hold_stalled_s), "--out", str(out)),
                *self._plan.timing.arguments(),
            ],
            self._plan.harness_limits,
            pipe_stdout=True,
        )

    def conformance(self, target: Address, infer_port: int, gateway: Role | None, json_file: Path) -> Role:
        """The black-box suite, started; it serves a simulator of its own on `infer_port`."""
        pid = [] if gateway is None else ["--pid", str(gateway.pid)]
        return self.start(
            "conformance",
            [
                *(str(HARNESS_PYTHON), "-m", "tests.conformance", "--target", f"ws://{target.host}:{target.port}"),
                *("--infer-port", str(infer_port), "--json", str(json_file)),
                *pid,
            ],
            self._plan.harness_limits,
            pipe_stdout=True,
        )

    async def _healthy(self, role: Role, address: Address, limit_s: float, path: str = "/health") -> None:
        def ended() -> str | None:
            exit_ = role.exited()
            return None if exit_ is None else str(exit_)

        await wait_healthy(address.host, address.port, limit_s, ended, path, self._network)


def _pinned(option: str, cpus: Sequence[int | None]) -> list[str]:
    """So many processes, each on its CPU; nothing for a single one that may be anywhere."""
    if len(cpus) == 1 and cpus[0] is None:
        return []
    numbers = [str(cpu) for cpu in cpus if cpu is not None]
    return [option, str(len(cpus)), *(["--cpus", ",".join(numbers)] if numbers else [])]
