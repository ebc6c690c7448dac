"""Which CPUs go to whom, for every shape, on invented machines from 2 to 128 CPUs; and how many processes are dealt."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment.host import Cpu, CpuPlan, HarnessLayout, ShapeRefused, cpu_plan, deal, needed, topology


def flat(numbers: Iterable[int]) -> list[Cpu]:
    """CPUs with a core each."""
    return [Cpu(number, core=number) for number in numbers]


def smt(cores: int, nodes: int = 1, speed: int = 0) -> list[Cpu]:
    """Cores of two hardware threads, numbered as Linux does: first threads, then second ones; nodes in turn."""
    per_node = cores // nodes
    return [Cpu(n, core=n % cores, node=n % cores // per_node, speed=speed) for n in range(2 * cores)]


HYBRID = [Cpu(n, core=n - n % 2, speed=50) for n in range(8)] + [Cpu(n, core=n, speed=40) for n in range(8, 12)]
"""Four fast cores of two threads, four slow ones of one."""
MACHINES: dict[str, list[Cpu]] = {
    "2": flat(range(2)),
    "2 threads of one core": smt(1),
    "4": flat(range(4)),
    "4 cores × 2": smt(4),
    "16": flat(range(16)),
    "hybrid": HYBRID,
    "2 nodes of 16 × 2": smt(32, nodes=2),
    "4 nodes of 16 × 2": smt(64, nodes=4),
}


@pytest.mark.parametrize(
    ("vcpus", "mode", "cores", "gateway", "harness"),
    [
        (1, "cpuset", range(2), {1}, {0}),
        (2, "cpuset", range(4), {2, 3}, {0, 1}),
        (2, "cpuset", {3, 5, 9}, {5, 9}, {3}),  # the CPUs that may be used, not those that exist
        (0.1, "quota", range(2), {1}, {0}),
        (0.5, "quota", range(8), {7}, set(range(7))),
        (1, "quota", range(2), {1}, {0}),
        (1, "quota", range(8), {4, 5, 6, 7}, {0, 1, 2, 3}),
        (1, "quota", range(3), {1, 2}, {0}),
        (3, "quota", range(4), {1, 2, 3}, {0}),
        (1.5, "quota", range(3), {1, 2}, {0}),
    ],
)
def test_a_plan_never_overlaps(
    vcpus: float, mode: str, cores: Iterable[int], gateway: set[int], harness: set[int]
) -> None:
    plan = cpu_plan(vcpus, mode, flat(cores))  # type: ignore[arg-type]
    assert plan == CpuPlan(frozenset(gateway), frozenset(harness), shared=False)
    assert cpu_plan(vcpus, mode, flat(cores), harness_shared=True) == plan  # type: ignore[arg-type] # only where needed


def test_no_core_left_for_the_harness_is_refused_unless_shared() -> None:
    with pytest.raises(ShapeRefused, match=r"2 cores and one for the harness; 2 can be used here.*HARNESS=shared"):
        cpu_plan(2, "cpuset", flat(range(2)))
    plan = cpu_plan(2, "cpuset", flat(range(2)), harness_shared=True)
    assert plan.shared
    assert plan.gateway == plan.harness == {0, 1}
    one = cpu_plan(0.25, "quota", flat([6]), harness_shared=True)
    assert one.shared
    assert one.gateway == one.harness == {6}


@pytest.mark.parametrize(
    ("vcpus", "mode", "cores", "says"),
    [
        (4, "cpuset", range(2), "4 vCPU needs 4 cores; 2 can be used"),
        (0.5, "cpuset", range(4), "needs mode quota"),
        (0, "quota", range(4), "above 0"),
        (1, "quota", [], "no usable CPU"),
    ],
)
def test_the_impossible_is_refused_even_shared(vcpus: float, mode: str, cores: Iterable[int], says: str) -> None:
    with pytest.raises(ShapeRefused, match=says):
        cpu_plan(vcpus, mode, flat(cores), harness_shared=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machine", "vcpus", "gateway", "idle", "order"),
    [
        ("2 threads of one core", 1, {1}, set(), (0,)),
        ("4", 1, {3}, set(), (0, 1, 2)),
        ("4 cores × 2", 1, {7}, {3}, (0, 1, 2, 4, 5, 6)),
        ("4 cores × 2", 2, {6, 7}, {2, 3}, (0, 1, 4, 5)),
        ("4 cores × 2", 4, {4, 5, 6, 7}, set(), (0, 1, 2, 3)),
        ("4 cores × 2", 5, {4, 5, 6, 7, 3}, set(), (0, 1, 2)),
        ("hybrid", 1, {7}, {6}, (0, 2, 4, 8, 9, 10, 11, 1, 3, 5)),
        ("hybrid", 5, {1, 3, 5, 7, 11}, {0, 2, 4, 6}, (8, 9, 10)),
    ],
)
def test_a_gateway_has_whole_fast_cores_and_their_other_threads_idle(
    machine: str, vcpus: int, gateway: set[int], idle: set[int], order: tuple[int, ...]
) -> None:
    plan = cpu_plan(vcpus, "cpuset", MACHINES[machine])
    assert (set(plan.gateway), set(plan.idle), plan.order) == (gateway, idle, order)


@pytest.mark.parametrize(("machine", "vcpus"), [("2 nodes of 16 × 2", 8), ("4 nodes of 16 × 2", 8)])
def test_gateway_and_the_first_of_the_harness_are_on_one_memory_node(machine: str, vcpus: int) -> None:
    cpus = {cpu.number: cpu for cpu in MACHINES[machine]}
    plan = cpu_plan(vcpus, "cpuset", MACHINES[machine])
    (node,) = {cpus[number].node for number in plan.gateway}
    near = [number for number in plan.order if cpus[number].node == node]
    assert list(plan.order[: len(near)]) == near
    assert len(near) == 16
    assert len({cpus[number].core for number in near[:8]}) == 8


def test_a_gateway_larger_than_a_node_spills_over() -> None:
    plan = cpu_plan(20, "cpuset", MACHINES["2 nodes of 16 × 2"])
    by_node = [sum(cpu.number in plan.gateway for cpu in smt(32, nodes=2) if cpu.node == node) for node in (0, 1)]
    assert sorted(by_node) == [4, 16]


@given(st.sampled_from(sorted(MACHINES)), st.integers(1, 130), st.sampled_from(["cpuset", "quota"]), st.booleans())
def test_everybody_has_a_cpu_and_nobody_anothers(machine: str, vcpus: int, mode: str, shared: bool) -> None:
    cpus = MACHINES[machine]
    try:
        plan = cpu_plan(vcpus, mode, cpus, harness_shared=shared)  # type: ignore[arg-type]
    except ShapeRefused:
        assert vcpus + (not shared) > len(cpus)
        return
    core = {cpu.number: cpu.core for cpu in cpus}
    assert len(plan.gateway) >= vcpus
    assert set(plan.order) == plan.harness - plan.gateway
    assert plan.harness
    assert not plan.idle & (plan.gateway | plan.harness)
    if plan.shared:
        assert shared
        return
    assert not plan.gateway & plan.harness
    assert plan.gateway | plan.harness | plan.idle == set(core)
    theirs = {core[number] for number in plan.gateway}
    if any(core[number] not in theirs for number in core):
        assert not any(core[number] in theirs for number in plan.harness)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("machine", ["4", "4 cores × 2", "16"])
def test_nothing_is_pinned_where_a_gateways_threads_are(machine: str, threads: int) -> None:
    plan = cpu_plan(0.1, "quota", MACHINES[machine], threads=threads)
    layout = deal(plan.order, 3, 2)
    assert not plan.gateway & {*layout.load, *layout.simulators}


@pytest.mark.parametrize(("threads", "shared"), [(1, False), (2, False), (None, True)])
def test_on_two_cpus_that_are_shared_one_of_each_may_be_anywhere(threads: int | None, shared: bool) -> None:
    plan = cpu_plan(2 if shared else 0.1, "cpuset" if shared else "quota", flat(range(2)), shared, threads)
    assert deal(plan.order, 3, 2) == HarnessLayout((None,), (None,))


@pytest.mark.parametrize(
    ("order", "load", "simulators", "dealt"),
    [
        ((0,), 3, 2, ((None,), (None,))),
        ((), 3, 2, ((None,), (None,))),
        ((0, 1), 3, 2, ((1,), (0,))),
        ((0, 1, 2), 3, 2, ((1,), (0,))),
        ((0, 1, 2, 3), 1, 1, ((1,), (0,))),
        ((0, 1, 2, 3, 4, 5), 3, 2, ((2, 3, 4), (0, 1))),
        ((4, 5, 6, 7), 9, 2, ((6,), (4, 5))),
        ((4, 5, 6, 7, 8), 9, 1, ((5, 6, 7), (4,))),
    ],
)
def test_each_process_has_a_cpu_of_its_own_as_far_as_they_go_and_the_runner_one_where_there_are_three(
    order: Sequence[int], load: int, simulators: int, dealt: tuple[tuple[int | None, ...], tuple[int | None, ...]]
) -> None:
    assert deal(order, load, simulators) == HarnessLayout(*dealt)


@pytest.mark.parametrize(("sessions", "cost_us", "wanted"), [(1, 500.0, 1), (1400, 500.0, 1), (1401, 500.0, 2)])
def test_processes_are_counted_by_need(sessions: int, cost_us: float, wanted: int) -> None:
    assert needed(sessions, cost_us, 0.7) == wanted


def test_the_topology_is_what_the_kernel_shows(tmp_path: Path) -> None:
    for number, siblings, node, capacity in ((0, "0,2", 0, "1024"), (2, "0,2", 0, "1000"), (5, "5", 1, "512")):
        folder = tmp_path / f"cpu{number}"
        (folder / "topology").mkdir(parents=True)
        (folder / f"node{node}").mkdir()
        (folder / "topology/thread_siblings_list").write_text(f"{siblings}\n")
        (folder / "cpu_capacity").write_text(f"{capacity}\n")
    fast, same, slow, unknown = topology([0, 2, 5, 7], tmp_path)
    assert (fast.core, same.core, slow.core, unknown) == (0, 0, 5, Cpu(7, core=7))
    assert (fast.node, slow.node) == (0, 1)
    assert fast.speed == same.speed > slow.speed > unknown.speed
