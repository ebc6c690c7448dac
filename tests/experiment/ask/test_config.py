"""The committed file is as the contract has it, and a mistake in it is named by table and key."""

from pathlib import Path

import pytest

from experiment.ask.config import EXPERIMENTS, load_config
from experiment.ask.schema import ConfigError


@pytest.fixture
def text() -> str:
    return EXPERIMENTS.read_text(encoding="utf-8")


def load(tmp_path: Path, text: str) -> None:
    path = tmp_path / "experiments.toml"
    path.write_text(text, encoding="utf-8")
    load_config(path)


def test_the_limits_and_timings_are_the_contracts() -> None:
    config = load_config()
    slo, harness, simulator = config.slo, config.harness, config.simulator
    assert (slo.newest_p50_ms, slo.newest_p95_ms, slo.oldest_p50_ms, slo.oldest_p95_ms) == (200, 350, 1200, 1650)
    assert slo.failure_ratio == 1e-5
    assert (harness.send_lateness_p99_ms, harness.simulator_overshoot_p99_ms, harness.infer_port) == (10, 10, 9000)
    assert (simulator.batch_wait_max_ms, simulator.model_delay_ms, simulator.sigma) == (20, 75, 0.15)
    assert (simulator.slow_factor, simulator.slow_probability, simulator.max_concurrent) == (3, 0.01, 65536)
    timings = {name: (t.ramp_s, t.warmup_s, t.measure_s, t.spread_s) for name, t in config.timings.items()}
    assert timings["full"] == (30, 10, 45, 1)
    assert timings["quick"] == (5, 3, 15, 1)


def test_every_shape_has_its_name_and_two_gib() -> None:
    shapes = load_config().shapes
    contract = ["cpuset-1", "cpuset-2", "quota-1", "quota-2", "quota-0.5", "quota-0.25", "quota-0.1"]
    assert list(shapes) == [
        *contract,
        "quota-0.05",
        *(f"quota-{threads}x{each}" for each in ("0.25", "0.1", "0.05", "1") for threads in (1, 2)),
    ]
    for name, shape in shapes.items():
        each = f"{shape.threads}x" if shape.threads else ""
        assert name == f"{shape.mode}-{each}{shape.vcpus:g}"
        assert shape.memory_mib == 2048


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('loop = "uvloop"', 'loop = "uvloop"\nlop = 1', "'lop' in table [variants.gil] is unknown"),
        ("seed = 1", "", "'seed' in table [harness] is missing"),
        ('loop = "uvloop"', 'loop = "twisted"', "'loop' in table [variants.gil]"),
        ("measure_s = 45", "measure_s = 0", "'measure_s' in table [timings.full]"),
        ("vcpus = 2\n", "vcpus = 1.5\n", "cpuset takes whole vcpus"),
        ("period_ms = 10\n", "", "'quota-0.1' in table [shapes]"),
        ("[slo]", "[sla]", "table [sla] is unknown"),
        ("[slo]", "[slo", "is not TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, before: str, after: str, named: str) -> None:
    assert before in text
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text.replace(before, after, 1))
    assert named in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read experiments\.toml"):
        load_config(tmp_path / "experiments.toml")
