"""The worker against a real gateway on a real socket: honest, and wrong in every way that has a name."""

import dataclasses
import os
import resource
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadgen.afterwards.summary import summarise, write_files
from loadgen.connection import Connection
from loadgen.fleet import Run, run_fleet
from loadgen.samples import merge
from loadgen.schedule import SLOT_S, Timing
from loadgen.shared import Limits
from loadgen.slots import Slot
from loadgen.worker import Plan, Progress, Worker
from tests.loadgen.tiny_gateway import TinyGateway

TIMING = Timing(ramp_s=0.3, spread_s=0.1, warmup_s=0.2, measure_s=3.4)
LIMITS = Limits(connect_s=0.6, send_s=2.0, close_s=0.6, session_s=6.0, last_answer_s=0.8, stall_s=1.5)

# What each session's gateway does, and the one failure that it must give.
WAYS: dict[int, tuple[str, str, str]] = {
    0: ("honest", "", ""),
    1: ("honest", "", ""),
    2: ("fragments and pings", "", ""),
    3: ("gap", "protocol", "gap in cover"),
    4: ("overlap", "protocol", "overlap in cover"),
    5: ("future", "protocol", "sent so far"),
    6: ("another's audio", "protocol", "wrong audio"),
    7: ("bad schema", "protocol", "extra ['extra']"),
    8: ("binary", "protocol", "expected a text message"),
    9: ("close", "protocol", "1011"),
    10: ("vanish", "protocol", "ended the connection in mid-session"),
    11: ("error", "inference", "inference_request / timeout"),
    12: ("no close reply", "close", "within 0.6 s"),
    13: ("end without close reply", "close", "without a close reply"),
    14: ("stall", "stalled", "never recovered"),
    15: ("stall and recover", "stalled", "recovered later"),
    16: ("lose the end", "lost", "never covered"),
    17: ("honest", "", ""),
}


def run_in_process(plan: Plan) -> tuple[dict[str, Any], list[Progress], Run]:
    worker = Worker(plan)
    reports: list[Progress] = []
    t0 = time.monotonic()
    result = worker.run(t0, reports.append)
    ended_s = time.monotonic() - t0
    worker.verify(result)
    run = Run(plan, time.time(), ended_s, merge([result.samples]), [result])
    return summarise(run)[0], reports, run


@pytest.fixture(scope="module")
def mixed() -> tuple[dict[str, Any], list[Progress], Run]:
    with TinyGateway({session: way for session, (way, _, _) in WAYS.items()}) as gateway:
        return run_in_process(Plan(gateway.url, len(WAYS), TIMING, limits=LIMITS))


@pytest.mark.parametrize("session", WAYS)
def test_each_misbehaviour_is_counted_once_under_its_name(
    mixed: tuple[dict[str, Any], list[Progress], Run], session: int
) -> None:
    _, name, words = WAYS[session]
    own = [detail for detail in mixed[0]["failure_details"] if detail["session"] == session]
    assert [detail["failure"] for detail in own] == ([name] if name else [])
    if name:
        assert words in own[0]["detail"]


def test_the_summary_adds_up(mixed: tuple[dict[str, Any], list[Progress], Run]) -> None:
    summary, reports, _ = mixed
    wanted = Counter(name for _, name, _ in WAYS.values() if name)
    assert summary["failures"] == {name: wanted[name] for name in summary["failures"]}
    assert summary["failures_total"] == sum(wanted.values())
    assert summary["stalls"] == {"count": 2, "recovered": 1, "never_recovered": 1}
    assert summary["wrong_audio"] == 1
    assert summary["errors"] == 1
    assert summary["error_kinds"] == {"timeout": 1}
    frames = summary["frames"]
    assert frames["due"] == frames["answered"] + frames["errored"] + frames["lost"]
    assert frames["sent"] == frames["due"]
    assert summary["connect_ms"]["count"] == len(WAYS)
    assert 0 < summary["newest_ms"]["p50"] <= summary["oldest_ms"]["p50"]
    assert summary["partials_measured"] == summary["newest_ms"]["count"] < summary["partials"]
    assert summary["harness"] == {"descriptors_exhausted": 0, "memory_exhausted": 0}
    assert [round(report.elapsed_s) for report in reports[:3]] == [1, 2, 3]
    assert sum(len(report.newest_ms) for report in reports) <= summary["partials"]


def test_a_gateway_cannot_hide_a_standstill_by_answering_after_the_window() -> None:
    """Everybody's answers are held from within the window until after it: they count, with how late they were."""
    timing = Timing(ramp_s=0.1, spread_s=0.1, warmup_s=0.2, measure_s=2.0)
    with TinyGateway(held_s=(1.6, 2.9)) as gateway:
        summary, _, run = run_in_process(
            Plan(gateway.url, 5, timing, limits=dataclasses.replace(LIMITS, last_answer_s=3.0, stall_s=3.0))
        )
    assert summary["failures_total"] == 0
    newest, oldest = (run.samples[f"{frame}_due_s"] >= timing.measure_start_s for frame in ("newest", "oldest"))
    assert summary["partials_measured"] == sum(newest & ~run.samples["is_closing"])
    assert summary["oldest_ms"]["count"] == sum(oldest)
    assert summary["newest_ms"]["p95"] > 350
    assert summary["oldest_ms"]["max"] > 1000


def test_every_honest_frame_is_sent_on_schedule(mixed: tuple[dict[str, Any], list[Progress], Run]) -> None:
    run = mixed[2]
    for ledger in run.results[0].ledgers:
        if WAYS[ledger.session][0] == "honest":
            assert ledger.start_s is not None
            assert abs(ledger.due - (TIMING.end_s - ledger.start_s) / 0.020) <= 1
            assert ledger.sent == ledger.answered == ledger.due


def test_a_full_socket_delays_frames_and_a_dead_one_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_with_a_small_buffer(connection: Connection) -> None:
        original_open(connection)
        assert connection._sock is not None
        connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # the kernel's own grows to megabytes

    original_open = Connection.open
    monkeypatch.setattr(Connection, "open", open_with_a_small_buffer)
    limits = Limits(send_s=2.5, close_s=1.0, stall_s=60.0)
    timing = Timing(ramp_s=0.1, spread_s=0.0, warmup_s=0.2, measure_s=6.5)
    with TinyGateway({1: "read late", 2: "never read"}) as gateway:
        summary, _, run = run_in_process(Plan(gateway.url, 3, timing, limits=limits))
    assert [(d["session"], d["failure"]) for d in summary["failure_details"]] == [(2, "send")]
    assert "took no byte for 2.5 s" in summary["failure_details"][0]["detail"]
    late = run.results[0].ledgers[1]
    assert late.sent == late.answered == late.due
    blocked = summary["blocked_send_ms"]
    assert blocked["count"] > 10
    assert 500 < blocked["max"] < 3000
    dead = run.results[0].ledgers[2]
    assert dead.sent < dead.due
    # A full socket is the gateway's lateness, never the schedule's.
    assert summary["send_lateness_ms"]["p95"] < 100


@pytest.mark.parametrize(
    ("upgrade", "words", "refused"),
    [
        ("refuse", "503", 2),
        ("full", "let in and closed again: 1013", 2),
        ("full and reset", "let in and closed again: 1013", 2),
        ("silent", "handshake not done after 0.4 s", 0),
    ],
)
def test_whoever_is_not_let_in_is_a_connect_failure(upgrade: str, words: str, refused: int) -> None:
    timing = Timing(ramp_s=0.0, spread_s=0.0, warmup_s=0.0, measure_s=0.6)
    with TinyGateway(upgrade=upgrade) as gateway:
        summary, _, _ = run_in_process(Plan(gateway.url, 2, timing, limits=Limits(connect_s=0.4)))
    assert summary["failures"]["connect"] == summary["failures_total"] == 2
    assert all(words in detail["detail"] for detail in summary["failure_details"])
    assert summary["refused"] == refused
    if not upgrade.startswith("full"):
        assert summary["connect_ms"] == {"p50": None, "p95": None, "p99": None, "max": None, "count": 0}
        assert summary["cpu"]["us_per_session_second"] is None
        assert summary["frames"] == {"due": 0, "sent": 0, "answered": 0, "errored": 0, "lost": 0}


def test_a_closed_port_is_a_connect_failure() -> None:
    with TinyGateway() as gateway:
        url = gateway.url
    timing = Timing(ramp_s=0.0, spread_s=0.0, warmup_s=0.0, measure_s=0.1)
    summary, _, _ = run_in_process(Plan(url, 2, timing))
    assert summary["failures"]["connect"] == summary["failures_total"] == 2
    assert "refused" in summary["failure_details"][0]["detail"]


def test_running_out_of_descriptors_is_the_harness_not_the_gateway() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    timing = Timing(ramp_s=0.1, spread_s=0.0, warmup_s=0.0, measure_s=0.5)
    with TinyGateway() as gateway:
        worker = Worker(Plan(gateway.url, 4, timing))
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))
            result = worker.run(time.monotonic(), lambda progress: None)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.exhaustion.descriptors == 4
    assert all(ledger.failure is None for ledger in result.ledgers)


def test_several_workers_merge_exactly(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    timing = Timing(ramp_s=0.3, spread_s=0.1, warmup_s=0.2, measure_s=2.0)
    with TinyGateway({5: "error"}) as gateway:
        run = run_fleet(Plan(gateway.url, 7, timing, workers=3), events.append)
    summary = write_files(run, tmp_path)
    assert [[ledger.session for ledger in result.ledgers] for result in run.results] == [[0, 3, 6], [1, 4], [2, 5]]
    assert len(run.samples) == sum(len(result.samples) for result in run.results)
    assert (run.samples["arrival_s"][1:] >= run.samples["arrival_s"][:-1]).all()
    assert summary["partials"] + summary["errors"] == len(run.samples)
    assert summary["connect_ms"]["count"] == 7
    assert summary["send_lateness_ms"]["count"] == pytest.approx(7 * 100, abs=7)
    assert summary["failures"]["inference"] == summary["failures_total"] == 1
    ledgers = [ledger for result in run.results for ledger in result.ledgers]
    assert summary["frames"]["due"] == sum(ledger.due for ledger in ledgers) == summary["frames"]["sent"]
    phases = [event["phase"] for event in events if event["event"] == "phase"]
    assert phases == ["ramp", "warmup", "measure", "drain", "verify"]
    progress = [event for event in events if event["event"] == "progress"]
    assert progress[0]["open"] == 7
    assert progress[0]["total_s"] == pytest.approx(2.6)


def test_each_worker_is_on_its_cpu_and_a_wrong_number_of_them_is_refused() -> None:
    timing = Timing(ramp_s=0.1, spread_s=0.0, warmup_s=0.0, measure_s=0.5)
    cpu = min(os.sched_getaffinity(0))
    with TinyGateway() as gateway:
        plan = Plan(gateway.url, 4, timing, workers=2, cpus=(cpu, cpu))
        summary, _ = summarise(run_fleet(plan, lambda event: None))
    assert summary["failures_total"] == 0
    assert summary["frames"]["sent"] == summary["frames"]["answered"] > 0
    with pytest.raises(ValueError, match="expected one for each of 2 workers, got 1"):
        Plan("ws://127.0.0.1:1/ws/stt", 4, timing, workers=2, cpus=(cpu,))


def test_no_frame_leaves_early_though_the_loop_runs_late_and_slots_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    joins: list[tuple[float, float]] = []  # (start, lead) of each session

    def noted_join(connection: Connection, slot: Slot[Connection], lead_s: float) -> None:
        assert connection.ledger.start_s is not None
        joins.append((connection.ledger.start_s, lead_s))
        original_join(connection, slot, lead_s)

    original_join = Connection.join
    monkeypatch.setattr(Connection, "join", noted_join)
    ways = {session: "close" if session % 2 else "gap" for session in range(3, 60, 4)}
    timing = Timing(ramp_s=0.0, spread_s=0.0, warmup_s=0.4, measure_s=1.2)
    with TinyGateway(ways) as gateway:
        worker = Worker(Plan(gateway.url, 60, timing))
        result = worker.run(time.monotonic() - 0.3, lambda progress: None)  # t0 has passed: 300 slots to catch up
    assert len(joins) == 60
    for start_s, lead_s in joins:
        assert -1e-9 <= lead_s <= SLOT_S + 1e-9
        boundary = (start_s + lead_s) / SLOT_S
        assert boundary == pytest.approx(round(boundary), abs=1e-3)
    assert min(result.send_late_ms.tolist()) * 1e-3 > min(lead_s for _, lead_s in joins)
    assert max(result.send_frames.tolist()) > 1
    for ledger in result.ledgers:
        if ledger.session in ways:
            assert ledger.failure is not None
            assert ledger.failure.name == "protocol"
        else:
            assert ledger.failure is None
            assert ledger.start_s is not None
            assert abs(ledger.due - (timing.end_s - ledger.start_s) / 0.020) <= 1
            assert ledger.sent == ledger.answered == ledger.due > 10


def test_bursts_are_never_early_and_all_of_them_arrive() -> None:
    with TinyGateway() as gateway:
        summary, _, run = run_in_process(Plan(gateway.url, 3, TIMING, limits=LIMITS, burst_frames=10))
    assert summary["failures_total"] == 0
    assert summary["frames"]["sent"] == summary["frames"]["answered"] > 300
    assert summary["frames"]["sent"] == 10 * int(run.results[0].send_frames.sum())
    assert run.samples["newest_ms"].min() >= 0


def test_a_session_that_stands_still_is_spared_while_it_is_looked_at() -> None:
    held = dataclasses.replace(LIMITS, hold_s=4.0)
    with TinyGateway({0: "stall"}) as gateway:
        _, _, at_once = run_in_process(Plan(gateway.url, 2, TIMING, limits=LIMITS))
        summary, reports, later = run_in_process(Plan(gateway.url, 2, TIMING, limits=held))
    assert max(report.still for report in reports) == 1
    assert later.ended_s > at_once.ended_s + 0.5
    assert summary["failures"]["stalled"] == 1
