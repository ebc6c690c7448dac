"""One point: so many sessions against a fresh gateway, watched from outside. It stores what it saw and judges by
`experiment.run.verdict`."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import anyio
import anyio.to_thread

from experiment.ask import Plan
from experiment.host import (
    AffinityGroup,
    CoresReading,
    Role,
    RoleGroup,
    Run,
    Sampler,
    Snapshot,
    busy_between,
    core_speed,
    notable,
    read_cores,
    usable_cpus,
)
from experiment.run.harness import HarnessCosts, harness_layout
from experiment.run.launch import Launch
from experiment.run.probe import ProbeError
from experiment.run.progress import Stage
from experiment.run.stand import HARNESS_PYTHON, Stand
from experiment.run.surroundings import Surroundings
from experiment.run.verdict import judge
from experiment.setup import read_json, write_json
from experiment.store import PointFolder

Observer = Callable[[str, Mapping[str, Role]], Awaitable[None]]
"""Looks on from outside: told each phase as it begins ("ramp", "warmup", "measure", "drain"), once when sessions stand
still while others go on ("stall"), and the roles by name.
What it starts in a phase it ends in a later one; the load does not wait for it, the end of the point does."""

DRAIN_S = 25.0
"""The longest that sessions may go on after the measured window (15 s), and their close (5 s), with some to spare."""
VERIFY_S, VERIFY_PARTIAL_S = 120.0, 0.001
"""The load generator recomputes every partial after the run: this long at most, and so much more for each."""


async def run_point(
    run: Run,
    plan: Plan,
    launch: Launch | None,
    sessions: int,
    folder: PointFolder,
    stage: Stage,
    observer: Observer | None = None,
    costs: HarnessCosts | None = None,
) -> dict[str, Any]:
    """Run one point and return its summary, which also lies in the folder. `costs`: of the harness, as earlier points
    have them.

    Raises:
        ProbeError: a role did not get healthy; nothing was measured then.
    """
    stage.update("core speed")
    speed = None
    if plan.cpus is not None:
        speed = await anyio.to_thread.run_sync(core_speed, HARNESS_PYTHON, max(plan.cpus.gateway))
    costs = costs or HarnessCosts.expected(plan.config.harness)
    layout = harness_layout(plan, sessions, costs)
    async with Stand(run, plan, launch, folder.logs, steered=True) as stand:
        infer_port = plan.infer_port if plan.target else stand.free_port()
        stage.update("starting")
        roles = {"simulator": await stand.simulator(infer_port, layout)}
        if plan.target is None:
            roles["gateway"], address = await stand.gateway(infer_port)
        else:
            address = plan.target
        roles["loadgen"] = stand.loadgen(address, sessions, folder.loadgen, layout)
        cpus = usable_cpus() if plan.cpus is None else plan.cpus.gateway | plan.cpus.harness
        surroundings = Surroundings(run.host.quotas, cpus)

        async def simulator_figures() -> dict[str, Any]:
            return await stand.get_json(infer_port, "/stats")

        watch = _Watch(roles, plan, sessions, folder, simulator_figures, stage, observer, surroundings)
        watch.harness_faults += lost_groups(run.host.writable, [role.group for role in roles.values()])
        await watch.follow()
        return _summarise(plan, sessions, folder, watch, speed, asdict(layout) | asdict(costs))


def lost_groups(cgroups_writable: bool, groups: Sequence[RoleGroup]) -> list[str]:
    """A sentence for each role that is pinned by CPU affinity alone where the run's cgroups can be written: making its
    group failed just now, and the point is not like its neighbours."""
    lost = [group for group in groups if cgroups_writable and isinstance(group, AffinityGroup)]
    return [f"{group.role} lost its group: {group.notes[0]}" for group in lost]


class _Watch:
    """Follows one load: samples every role, notes who ends early, marks the measured window."""

    def __init__(
        self,
        roles: dict[str, Role],
        plan: Plan,
        sessions: int,
        folder: PointFolder,
        simulator_figures: Callable[[], Awaitable[dict[str, Any]]],
        stage: Stage,
        observer: Observer | None,
        surroundings: Surroundings,
    ) -> None:
        groups: list[RoleGroup] = [role.group for role in roles.values()]
        self.notes: list[str] = []
        self.gateway_faults: list[str] = []
        self.harness_faults: list[str] = []
        self.marks: dict[str, dict[str, Snapshot]] = {}
        self.cores: dict[str, CoresReading] = {}
        """The gateway's CPUs as the measured window began and ended; none where the harness runs on them too."""
        self.simulator: dict[str, Any] | None = None
        """Its figures when the load had ended; None where it did not answer."""
        self.sampler = Sampler(groups, folder.resources)
        self.surroundings = surroundings
        self._roles = roles
        self._plan = plan
        self._sessions = sessions
        self._simulator_figures = simulator_figures
        self._stage = stage
        self._observer = observer

    async def follow(self) -> None:
        """Until the load generator ends, or its time is up."""
        timing = self._plan.timing
        limit_s = timing.total_s + DRAIN_S + VERIFY_S + VERIFY_PARTIAL_S * self._sessions * timing.measure_s
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.sampler.run)
            for name in ("simulator", "gateway"):
                if name in self._roles:
                    tasks.start_soon(self._report_exit, name)
            with anyio.move_on_after(limit_s) as limit:
                async with anyio.create_task_group() as observations:
                    async for line in self._roles["loadgen"].lines():
                        self._event(event := json.loads(line))
                        if event["event"] == "phase":
                            observations.start_soon(self._observe, event["phase"])
                            if event["phase"] == "verify":
                                observations.start_soon(self._ask_simulator)
                        elif 0 < event["still"] < event["open"] and not self._saw_stall:
                            self._saw_stall = True
                            observations.start_soon(self._observe, "stall")
                exit_ = await self._roles["loadgen"].wait()
                if exit_.status != 0:
                    self.harness_faults.append(f"{exit_.how}: see {exit_.log.name}")
                if "verify" not in self.marks:
                    await self._ask_simulator()
            if limit.cancelled_caught:
                self.harness_faults.append(f"the load generator did not end within {limit_s:.0f} s and was stopped")
            tasks.cancel_scope.cancel()
        self.surroundings.mark("verify")  # a load generator that died did not say that the load was over
        self.harness_faults += self.surroundings.faults()

    async def _ask_simulator(self) -> None:
        """Its figures of the load, before the check of every partial takes the core that it shares with the load
        generator: an overloaded gateway goes on asking it for seconds after the last session has ended."""
        with suppress(ProbeError):
            self.simulator = await self._simulator_figures()

    async def _observe(self, phase: str) -> None:
        if self._observer is None:
            return
        try:
            await self._observer(phase, self._roles)
        except Exception as error:
            self.notes.append(f"the observer failed in phase {phase}: {type(error).__name__}: {error}")

    async def _report_exit(self, name: str) -> None:
        exit_ = await self._roles[name].wait()
        faults = self.gateway_faults if name == "gateway" else self.harness_faults
        faults.append(f"{exit_.how} while the load ran: see {exit_.log.name}")

    def _event(self, event: dict[str, Any]) -> None:
        if event["event"] == "phase":
            self._phase = event["phase"]
            self.surroundings.mark(self._phase)
            self.marks[self._phase] = {name: self.sampler.snapshot(name) for name in self._roles}
            if self._phase in ("measure", "drain"):  # it reads every thread of the machine
                self._mark_cores()
            self._stage.update(self._phase)
        else:
            self._stage.update(self._phase, self._live(event))

    def _mark_cores(self) -> None:
        cpus, gateway = self._plan.cpus, self._roles.get("gateway")
        if cpus is not None and gateway is not None and not cpus.gateway & cpus.harness:
            self.cores[self._phase] = read_cores(cpus.gateway, gateway.group.pids())

    _phase = "ramp"
    _saw_stall = False
    _last_gateway: Snapshot | None = None

    def _live(self, event: dict[str, Any]) -> str:
        words = [f"{event['open']} open"]
        if event["newest_p95_ms"] is not None:
            words.append(f"newest p50/p95 {event['newest_p50_ms']:.0f}/{event['newest_p95_ms']:.0f} ms")
        elif event["open"]:
            words.append("no answer in the last second")
        if event["failures"]:
            words.append(f"{event['failures']} failures")
        if event["still"]:
            words.append(f"{event['still']} stand still")
        if "gateway" in self._roles:
            before, now = self._last_gateway, self.sampler.snapshot("gateway")
            if before and now.cpu_us is not None and before.cpu_us is not None and now.at_s > before.at_s:
                words.append(f"gateway {(now.cpu_us - before.cpu_us) / 1e6 / (now.at_s - before.at_s):.2f} CPU")
            self._last_gateway = now
        return " · ".join(words)

    def busy(self) -> dict[str, Any] | None:
        """What the gateway's CPUs did in the measured window, whoever it was for (`busy_between`)."""
        first, last = self.cores.get("measure"), self.cores.get("drain")
        return None if first is None or last is None else busy_between(first, last)

    def windows(self) -> dict[str, dict[str, float | int | None]]:
        """What each role used from the start of the measured window to its end; empty if that was not reached."""
        first, last = self.marks.get("measure"), self.marks.get("drain")
        if first is None or last is None:
            return {}
        return {name: self.sampler.window(first[name], last[name]) for name in self._roles}


def _summarise(
    plan: Plan,
    sessions: int,
    folder: PointFolder,
    watch: _Watch,
    speed: dict[str, float] | None,
    layout: dict[str, Any],
) -> dict[str, Any]:
    load = read_json(folder.loadgen / "summary.json")
    verdict = judge(
        load, watch.simulator, plan.config.slo, plan.config.harness, watch.gateway_faults, watch.harness_faults
    )
    windows = watch.windows()
    refused = 0 if load is None else load["refused"]
    let_in = sessions - refused
    busy = watch.busy()
    gateway = None
    if plan.target is None:
        window = windows.get("gateway", {})
        cpu_us, wall_s = window.get("cpu_us"), window.get("wall_s") or 1
        busy_us = None if busy is None else busy["busy_s"] * 1e6
        gateway = {
            "us_per_session_second": cpu_us / (let_in * wall_s) if cpu_us is not None and let_in else None,
            "all_in_us_per_session_second": busy_us / (let_in * wall_s) if busy_us is not None and let_in else None,
            "cpu": None if cpu_us is None else cpu_us / 1e6 / wall_s,
            "rss_bytes_max": window.get("rss_bytes_max"),
        }
    notes = [*watch.notes, *watch.surroundings.notes(), *notable(busy)]
    if plan.why_sender is not None:
        notes.append(plan.why_sender)
    if refused:
        notes.append(f"the gateway was full for {refused} of {sessions} sessions; its cost is of the {let_in} let in")
    if plan.hold_stalled_s:
        notes.append(f"time limits of sessions that stand still were paused, {plan.hold_stalled_s:g} s long")
    summary = {
        "sessions": sessions,
        "status": verdict.status,
        "external": plan.target is not None,
        "reasons": list(verdict.reasons),
        "notes": notes,
        "gates": [asdict(gate) for gate in verdict.gates],
        "harness": [asdict(gate) for gate in verdict.harness],
        "load": load,
        "simulator": watch.simulator,
        "gateway": gateway,
        "window": windows,
        "cores": busy,
        "core_speed": speed,
        "harness_layout": layout,
        "outer_quotas": watch.surroundings.outer_quotas(),
        "steal_share": watch.surroundings.steal_share(),
    }
    write_json(folder.summary, summary)
    return summary
