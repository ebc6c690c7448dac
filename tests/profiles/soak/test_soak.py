"""What a soak says of invented series, and a short one for real."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiment.setup import CHECKOUT
from profiles.soak.flat import by_period, drift
from profiles.soak.run import summary, told

MINUTE_S = [float(at_s) for at_s in range(60)]


def test_a_leak_grows_and_noise_is_flat() -> None:
    noise = [100.0 + (-1) ** at * 0.5 for at in range(60)]
    leak = [100.0 + at_s / 10 for at_s in MINUTE_S]
    flat, grows = drift("memory", "MiB", MINUTE_S, noise), drift("memory", "MiB", MINUTE_S, leak)
    assert flat is not None
    assert grows is not None
    assert (flat.verdict, grows.verdict) == ("flat", "grows")
    assert (grows.first, grows.last) == pytest.approx((100.95, 104.95))
    assert grows.low_per_hour == pytest.approx(grows.per_hour) == pytest.approx(360.0)
    falls = drift("memory", "MiB", MINUTE_S, leak[::-1])
    assert falls is not None
    assert falls.verdict == "falls"
    assert drift("memory", "MiB", MINUTE_S[:8], leak[:8]) is None


def test_percentiles_are_of_each_period_alone() -> None:
    at_s, values = np.array([0.0, 1.0, 10.0, 31.0]), np.array([1.0, 3.0, 7.0, 9.0])
    assert by_period(at_s, values, 10.0, 50) == ([0.0, 10.0, 30.0], [2.0, 7.0, 9.0])


def test_only_a_run_that_counts_and_in_which_nothing_grows_is_flat() -> None:
    point: dict[str, Any] = {"status": "PASS", "reasons": [], "notes": [], "gateway": None, "load": None}
    load = {"frames": {"due": 1_000_000}, "stalls": {"count": 0}, "failures_total": 0}
    level, leak = (MINUTE_S, [5.0] * 60), (MINUTE_S, [5.0 + at_s for at_s in MINUTE_S])
    lines, words, is_flat = told(summary({**point, "load": load}, {"threads": level}))
    assert is_flat
    assert lines == [["threads", "5", "5", "+0 (+0 … +0)", "flat"]]
    assert words == "PASS, 0 failures, 1,000,000 frames; stalls 0 in 1,000,000: 0 (95 % 0 – 3.69) per million"
    assert not told(summary({**point, "load": load}, {"threads": level, "memory": leak}))[2]
    assert not told(summary({**point, "status": "INVALID"}, {"threads": level}))[2]
    assert not told(summary(point, {}))[2]


@pytest.mark.slow
def test_a_short_one_for_real(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "profiles", "soak", "--variant", "drain", "--sessions", "20", "--minutes", "0.3"]
    ran = subprocess.run(
        [*command, "--results", str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True, timeout=180
    )
    folder = Path(ran.stdout.strip().splitlines()[-1].removeprefix("RESULT "))
    found = json.loads((folder / "soak.json").read_text(encoding="utf-8"))
    assert {each["name"] for each in found["drifts"]} >= {"memory", "descriptors", "threads"}
    assert found["frames"] > 20 * 50 * 18
    assert found["stalls"] == 0
    assert (folder / "soak.svg").exists()
    assert ran.returncode == int(any(each["verdict"] == "grows" for each in found["drifts"]))
    with next(folder.rglob("resources.csv")).open(encoding="ascii", newline="") as file:
        assert any(row["role"] == "gateway" for row in csv.DictReader(file))


@pytest.mark.parametrize(("option", "words"), [("--minutes=0", "MINUTES"), ("--sessions=1,2", "SESSIONS")])
def test_what_cannot_be_run_is_refused(option: str, words: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "profiles", "soak", "--sessions", "5", option, "--results", str(tmp_path)]
    ran = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert ran.stdout.startswith(f"EXIT 2 {words}: expected") or words in ran.stdout
