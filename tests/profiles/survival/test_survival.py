"""What faults did to others: effects of invented samples, the page, and one scenario for real."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from experiment.ask import ConfigError, load_config
from experiment.setup import CHECKOUT, write_json
from profiles.__main__ import SURVIVAL_GENERATED
from profiles.cliff.hazard import poisson_rate
from profiles.points import Answer
from profiles.survival import overload
from profiles.survival.effects import effect, said
from profiles.survival.evidence import KEPT, keep, keep_overload, keep_soaks, read_evidence, read_overload, read_soaks
from profiles.survival.overload import announce as announce_overload
from profiles.survival.overload import of_those_let_in, overload_of
from profiles.survival.page import overload_lines, page, screen_lines
from profiles.survival.run import EVIDENCE, announce, faults_of
from tests.conformance.rules.registry import RULES


def test_an_effect_is_of_the_scenario_and_of_the_seconds_after_it() -> None:
    answers = [Answer(9.9, 5000.0, False)]  # before it
    answers += [Answer(10.0 + n / 10, 100.0, False) for n in range(40)]
    answers += [Answer(14.5, 900.0, False), Answer(14.6, 0.0, True), Answer(15.5, 120.0, False)]
    answers += [Answer(19.0, 7000.0, False)]  # long after it
    found = effect(10.0, 14.0, answers, [(9.0, 100.0), (12.0, 150.0), (16.5, 110.0), (30.0, 900.0)])
    assert (found["answers"], found["errors"], found["max_ms"], found["p50_ms"]) == (42, 1, 900.0, 100.0)
    assert found["recovered_s"] == 1  # the first second after it was late, the second was not
    assert (found["memory_before_bytes"], found["memory_after_bytes"]) == (100.0, 110.0)
    assert said(found) == "p95 100, max 900 ms, 1 errors, late for 1 s after"
    nothing = effect(10.0, 14.0, [], [])
    assert said(nothing) == "no answer"
    assert nothing["recovered_s"] == 0


def evidence(**row: Any) -> dict[str, Any]:
    one = {"began_s": 10.0, "ended_s": 14.0, "kept": True, "said": ["PASS a-rule fine"]}
    one |= effect(10.0, 14.0, [Answer(11.0, 120.0, False)], [(9.0, 2.0**20), (12.0, 2.0**21)])
    kept = {
        "refused": None,
        "interpreter": {"tag": "3.14.7t", "prefix": "somebody's own"},
        "frames": {"due": 5000, "errored": 50, "lost": 0},
        "failures_total": 1,
        "scenarios": {"floods": one},
        **row,
    }
    return {
        "started": "2026-11-26T04:05:06+00:00",
        "finished": True,
        "contract": 2,
        "machine": {"cpus": 2, "cpu_model": "Invented", "kernel": "6.18.0-1", "hostname": "secret"},
        "settings": {"shape": "cpuset-1", "sessions": 200, "scenarios": {"floods": ["a-rule"], "later": ["b-rule"]}},
        "rows": {"drain": kept, "mt": {"refused": "no such build"}},
    }


def past_the_ceiling(
    limit: int | None, refused: int, stalled: int, newest_p95_ms: float, **more: Any
) -> dict[str, Any]:
    """A point of 90 sessions as `run_point` gives it, read."""
    limits = {"newest_p50_ms": 200, "newest_p95_ms": 350, "oldest_p50_ms": 1200, "oldest_p95_ms": 1650}
    values = {"newest_p50_ms": 100.0, "newest_p95_ms": newest_p95_ms, "oldest_p50_ms": 1100.0, "oldest_p95_ms": 1400.0}
    gates = [{"key": key, "limit": limit, "measured": values[key]} for key, limit in limits.items()]
    gates += [{"key": "failure_ratio", "limit": 1e-5, "measured": 0.1}]
    point = {
        "sessions": 90,
        "status": "FAIL",
        "reasons": [],
        "notes": [],
        "gateway": None,
        "gates": gates,
        "load": {
            "refused": refused,
            "failures": {"connect": refused, "stalled": stalled},
            "stalls": {"recovered": stalled},
        },
        **more,
    }
    return {"limit": limit, **of_those_let_in(point)}


def overloaded() -> dict[str, Any]:
    row = {
        "refused": None,
        "interpreter": {"tag": "3.14.7", "prefix": "somebody's own"},
        "bracket": {"passed": 60, "failed": 62},
        "points": [past_the_ceiling(None, 0, 3, 900.0), past_the_ceiling(60, 30, 0, 120.0)],
    }
    settings = {"timing": "quick", "factor": 1.5, "shapes": {"gil": "quota-0.1", "mt": "quota-0.1"}}
    rows = {"gil": row, "mt": {"refused": "no such build"}}
    return {key: evidence()[key] for key in ("started", "finished", "contract", "machine")} | {
        "settings": settings,
        "rows": rows,
    }


def soaked() -> dict[str, Any]:
    """Of a row that grew."""
    drifts = [
        {"name": "memory", "unit": "MiB", "first": 100.0, "last": 120.0, "verdict": "grows"},
        {"name": "threads", "unit": "", "first": 4.0, "last": 4.0, "verdict": "flat"},
    ]
    row = {"name": "mt", "shape": {"name": "cpuset-1"}, "interpreter": {"tag": "3.14.7t"}}
    return {
        "soaks": [
            {
                "started": "2026-11-26T12:00:00",
                "row": row,
                "sessions": 400,
                "minutes": 9,
                "status": "PASS",
                "failures_total": 0,
                "stall_rate": asdict(poisson_rate(0, 10_800_000)),
                "drifts": drifts,
            }
        ]
    }


def test_a_soak_is_a_line_with_what_moved_and_what_its_stalls_say(tmp_path: Path) -> None:
    text = page(evidence(), overloaded(), soaked())
    assert "begun 2026-11-26, cpuset-1, receive = sender" in text
    assert "| mt | 3.14.7t | 400 | 9 | PASS | 0 | 0 in 10,800,000: 0 (95 % 0 – 0." in text
    assert "| memory 100 → 120 MiB |" in text
    row = {"shape": {"name": "cpuset-1"}, "variant": {}, "interpreter": {"tag": "3.14.7t", "prefix": "somebody's own"}}
    write_json(
        tmp_path / "manifest.json", {"started": "2026-11-26", "machine": {"node": "secret"}, "rows": {"mt": row}}
    )
    with pytest.raises(ConfigError, match="finished `make soak`"):
        keep_soaks([tmp_path], tmp_path)
    write_json(tmp_path / "soak.json", {"title": "mt"})
    kept = keep_soaks([tmp_path], tmp_path).read_text(encoding="utf-8")
    assert "secret" not in kept
    assert "somebody" not in kept
    assert read_soaks(tmp_path)["soaks"][0]["title"] == "mt"


def test_those_let_in_are_judged_by_their_latencies_and_what_failed_is_counted_beside() -> None:
    assert past_the_ceiling(60, 30, 0, 120.0)["kept"] is True
    assert past_the_ceiling(60, 30, 0, 351.0)["kept"] is False
    assert past_the_ceiling(60, 30, 1, 120.0)["failed"] == {"stalled": 1}
    assert past_the_ceiling(60, 30, 0, 120.0)["failed"] == {}
    assert past_the_ceiling(60, 30, 0, 120.0, status="INVALID")["kept"] is None
    assert past_the_ceiling(60, 0, 0, 120.0, load=None)["failed"] == {}


def test_the_page_tells_what_a_limit_does_past_the_ceiling(tmp_path: Path) -> None:
    assert overload_lines(overloaded()) == [
        ["gil", "90", "no limit", "0", "3 stalled (3 recovered)", "100 / 900", "1100 / 1400", "FAIL", "do not"],
        ["gil", "90", "60", "30", "none", "100 / 120", "1100 / 1400", "FAIL", "keep the SLO"],
    ]
    text = page(evidence(), overloaded(), soaked())
    assert "gil on CPython 3.14.7, quota-0.1: confirmed 60 ↔ fails 62. Then 150 % of what passed" in text
    assert "mt did not run: no such build" in text
    write_json(tmp_path / overload.EVIDENCE, overloaded())
    kept = keep_overload([tmp_path], tmp_path).read_text(encoding="utf-8")
    assert "secret" not in kept
    assert "somebody" not in kept
    assert overload_lines(read_overload(tmp_path)) == overload_lines(overloaded())
    write_json(tmp_path / overload.EVIDENCE, overloaded() | {"finished": False})
    with pytest.raises(ConfigError, match="finished `make overload`"):
        keep_overload([tmp_path], tmp_path)
    with pytest.raises(ConfigError, match=r"expected rows of \[overload\], gil, drain, got nonesuch"):
        overload_of(load_config(), ["nonesuch"])


def test_the_page_has_a_cell_for_each_row_and_scenario() -> None:
    text = page(evidence(), overloaded(), soaked())
    assert "| floods | 120 / 120 |" in text
    assert "| later | not reached |" in text
    assert "| drain | 3.14.7t | 5,000 | 50 | 0 | 1 | 1 → 2 |" in text
    assert "mt did not run: no such build" in text
    assert "not kept" not in text.partition("## What was lost")[2]
    assert screen_lines(evidence()) == [["drain", "floods", "kept", "p95 120, max 120 ms"]]


def test_a_rule_that_was_not_kept_is_named() -> None:
    floods = {**evidence()["rows"]["drain"]["scenarios"]["floods"], "kept": False, "said": ["FAIL a-rule late"]}
    text = page(evidence(scenarios={"floods": floods}), overloaded(), soaked())
    assert "| floods | **not kept**: 120 / 120 |" in text
    assert "- drain, floods: FAIL a-rule late" in text


def test_only_finished_runs_that_are_alike_are_kept_and_without_names(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    write_json(run / EVIDENCE, evidence() | {"finished": False})
    with pytest.raises(ConfigError, match="finished `make faults`"):
        keep([run], tmp_path)
    with pytest.raises(ConfigError, match="run it, then publish it"):
        read_evidence(tmp_path)
    write_json(run / EVIDENCE, evidence())
    write_json(other / EVIDENCE, evidence() | {"rows": {"gil": evidence()["rows"]["drain"]}})
    text = keep([run, other], tmp_path).read_text(encoding="utf-8")
    assert "secret" not in text
    assert "somebody" not in text
    assert (
        list(read_evidence(tmp_path)["rows"]) == read_evidence(tmp_path)["settings"]["rows"] == ["drain", "mt", "gil"]
    )
    write_json(other / EVIDENCE, evidence() | {"contract": 1})
    with pytest.raises(ConfigError, match="another contract"):
        keep([run, other], tmp_path)


def test_the_committed_page_is_what_the_committed_evidence_gives() -> None:
    prose = (CHECKOUT / "docs" / "findings" / "survival.md").read_text(encoding="utf-8")
    assert prose == f"{SURVIVAL_GENERATED}\n\n{page(read_evidence(), read_overload(), read_soaks())}"
    assert (CHECKOUT / KEPT).exists()
    assert announce_overload(load_config(), overload_of(load_config(), None), Path("results")).startswith("2 rows × ")


def test_every_scenario_is_of_rules_that_there_are() -> None:
    faults = faults_of(load_config(), None)
    assert {rule for rules in faults.scenarios.values() for rule in rules} <= RULES.keys()
    assert announce(load_config(), faults).startswith(f"{len(faults.rows)} rows × {len(faults.scenarios)} scenarios: ")
    with pytest.raises(ConfigError, match="nonesuch"):
        faults_of(load_config(), ["nonesuch"])


def test_one_scenario_for_real(tmp_path: Path) -> None:
    text = (CHECKOUT / "experiments.toml").read_text(encoding="utf-8")
    before, _, rest = text.partition("[faults]\n")
    after = rest[rest.index("\n# ", rest.index("[faults.scenarios]")) :]
    table = '[faults]\nshape = "cpuset-1"\ntiming = "smoke"\nsessions = 10\nrows = ["drain"]\n\n[faults.scenarios]\n'
    chosen = tmp_path / "experiments.toml"
    chosen.write_text(f'{before}{table}"a flood" = ["hostile-flood-pings"]\n{after}', encoding="utf-8")
    script = (
        "import sys, pathlib, anyio\n"
        "from experiment.ask import load_config\n"
        "from experiment.run import Display\n"
        "from profiles.survival.run import faults_of, run_faults\n"
        "config = load_config(pathlib.Path(sys.argv[1]))\n"
        "with Display() as display:\n"
        "    print(anyio.run(run_faults, config, faults_of(config, None), pathlib.Path(sys.argv[2]), display).path)\n"
    )
    command = [sys.executable, "-c", script, str(chosen), str(tmp_path / "results")]
    ran = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads((Path(ran.stdout.strip().splitlines()[-1]) / EVIDENCE).read_text(encoding="utf-8"))
    row = found["rows"]["drain"]
    assert row["refused"] is None
    assert row["scenarios"]["a flood"]["said"][0].startswith("PASS hostile-flood-pings")
    assert row["scenarios"]["a flood"]["answers"] > 20
    assert row["frames"]["lost"] == 0
