"""What `make bench` stored, as tables."""

from typing import Any

from experiment.phases import PHASES
from experiment.report.bench import carried_lines, carried_sentences, phase_lines, reaction_lines, total_lines


def entries() -> list[dict[str, Any]]:
    loop = dict.fromkeys(PHASES, 1.0) | {"receive (kernel)": 30.0, "partial send (kernel)": 10.0}
    bare = {"loop": 5.0, "poll": 2.0, "sleep and wake-up": 3.0, "receive (kernel)": 25.0, "partial send (kernel)": 8.0}
    found: list[dict[str, Any]] = []
    for turn in range(2):
        for program, total_us, phases_us in (("draining", 160.0 + turn, loop), ("floor", 80.0, bare)):
            facts = {"tag": "3.14.7", "program": program, "turn": turn, "sessions": 1000, "total_us": total_us}
            facts |= {"receive": "gateway", "all_in_us": total_us + 80.0}
            found += [
                {**facts, "metered": False, "phases_us": {}},
                {**facts, "metered": True, "phases_us": phases_us},
            ]
    return found


def test_totals_are_paired_turn_by_turn() -> None:
    (line,) = total_lines(entries())
    assert line[:3] == ("CPython 3.14.7", "gateway", "1000")
    assert line[5] == "2.01 (2.00–2.01, n=2)"
    assert line[6] == "1.50 (1.50–1.51, n=2)"


def test_phases_stand_beside_the_same_calls_of_the_floor_and_add_up() -> None:
    lines = {line[0]: line[1:] for line in phase_lines(entries(), "3.14.7")}
    assert lines["receive"] == ("31.0", "1.0", "30.0", "25.0", "")
    assert lines["poll"] == ("1.0", "", "1.0", "2.0", "")
    assert lines["loop"] == ("1.0", "1.0", "", "", "5.0")
    assert lines["sum"] == ("50.0", "8.0", "42.0", "38.0", "5.0")


def test_reactions_say_where_kernel_memory_was_not_observed() -> None:
    wait = {"p50": 1.2, "p95": 700.0, "max": 880.4, "count": 80}
    found = {f"{what}_ms": wait for what in ("ping", "close", "violation", "handshake")}
    (line,) = reaction_lines({"drain": {**found, "rss_bytes": 20480.0, "kernel_bytes": None}})
    assert line == ("drain", *["1 / 700 / 880"] * 3, "1 / 700 / 880: 80", "20", "not observed")


def carried(sessions: int, status: str, loadgen_us: float | None = 430.0) -> dict[str, Any]:
    costs = {"loadgen_us": loadgen_us, "simulator_us": 120.0, "gateway_us": 150.0, "all_in_us": None}
    return {"sessions": sessions, "status": status, "late_p99_ms": 2.04, "overshoot_p99_ms": None, **costs}


def test_the_harness_carries_by_its_cost_at_the_most_that_was_valid() -> None:
    points = [carried(400, "PASS"), carried(1098, "FAIL", 380.0), carried(1537, "INVALID"), carried(784, "PASS")]
    ended = "harness ends at 1537 sessions on this machine: INVALID twice"
    found = {"sender": {"run": "r", "refused": None, "ended": ended, "points": points}}
    assert [line[1:3] for line in carried_lines(found)] == [
        ("400", "PASS"),
        ("784", "PASS"),
        ("1098", "FAIL"),
        ("1537", "INVALID"),
    ]
    assert carried_lines(found)[0] == ("sender", "400", "PASS", "430", "120", "150", "–", "2.0", "–")
    (said,) = carried_sentences(found)
    assert said.startswith("receive = sender: the harness carries 2000 sessions per core, by its cost at 1098")
    assert ended in said


def test_a_receive_that_is_not_to_be_had_and_a_harness_that_carries_nothing_are_said() -> None:
    refused: dict[str, Any] = {"run": None, "refused": "CAP_NET_ADMIN is missing", "ended": None, "points": []}
    none: dict[str, Any] = {"run": "r", "refused": None, "ended": "e", "points": [carried(400, "INVALID", None)]}
    said = carried_sentences({"gateway": refused, "sender": none})
    assert said == [
        "receive = gateway: not to be had here: CAP_NET_ADMIN is missing",
        "receive = sender: the harness carried none of the loads tried (r)",
    ]
