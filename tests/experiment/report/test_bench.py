"""What `make bench` stored, as tables."""

from typing import Any

from experiment.phases import PHASES
from experiment.report.bench import phase_lines, reaction_lines, total_lines


def entries() -> list[dict[str, Any]]:
    loop = dict.fromkeys(PHASES, 1.0) | {"receive (kernel)": 30.0, "partial send (kernel)": 10.0}
    bare = {"loop": 5.0, "poll": 2.0, "sleep and wake-up": 3.0, "receive (kernel)": 25.0, "partial send (kernel)": 8.0}
    found: list[dict[str, Any]] = []
    for turn in range(2):
        for program, total_us, phases_us in (("draining", 160.0 + turn, loop), ("floor", 80.0, bare)):
            facts = {"tag": "3.14.7", "program": program, "turn": turn, "sessions": 1000, "total_us": total_us}
            found += [
                {**facts, "metered": False, "phases_us": {}},
                {**facts, "metered": True, "phases_us": phases_us},
            ]
    return found


def test_totals_are_paired_turn_by_turn() -> None:
    (line,) = total_lines(entries())
    assert line[:2] == ("CPython 3.14.7", "1000")
    assert line[4].startswith("2.01 (2.00–2.01, n=2)")


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
