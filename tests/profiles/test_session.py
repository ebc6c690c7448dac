"""What a profile is asked for, and what it says it cost. Points are not run here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiment.ask.schema import ConfigError
from profiles.forensics.profiler import Forensics
from profiles.profilers.kinds import ProfilerFailed, PySpy, Target
from profiles.session import PROFILERS, _beside, checked, chosen, slowed


def _plan(**changed: Any) -> Any:
    return SimpleNamespace(**{"sessions": (10,), "variant": SimpleNamespace(module="x"), **changed})


@pytest.mark.parametrize(
    ("plan", "profiler", "says"),
    [
        (
            _plan(),
            "gprof",
            "PROFILER: expected one or more of py-spy, remote, sampling, sched, memray, collector, forensics",
        ),
        (_plan(sessions=()), "remote", "one number of sessions"),
        (_plan(sessions=(1, 2)), "remote", "one number of sessions"),
        (_plan(variant=None), "remote", "foreign and external"),
    ],
)
def test_what_cannot_be_profiled_is_refused_in_words(plan: Any, profiler: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        checked(plan, (profiler,))


def test_every_profiler_can_be_asked_for() -> None:
    for name in PROFILERS:
        checked(_plan(), (name,))


def test_cpython_s_own_profiler_is_taken_where_there_is_one() -> None:
    on = {name: _plan(variant=SimpleNamespace(module="x", interpreter=name)) for name in ("3.14t", "3.15", "3.15t")}
    assert [chosen(None, plan) for plan in on.values()] == [("remote",), ("sampling",), ("sampling",)]
    assert chosen("remote,sampling", on["3.15"]) == ("remote", "sampling")
    with pytest.raises(ConfigError, match="got 'remote,remote'"):
        checked(on["3.15"], ("remote", "remote"))


def test_profilers_with_few_samples_are_not_compared(tmp_path: Path) -> None:
    def around(name: str, samples: int) -> Any:
        (tmp_path / name).mkdir()
        (tmp_path / name / "stacks.txt").write_text(f"a 1;f (x.py) {samples}\n")
        return SimpleNamespace(folder=tmp_path / name)

    many, more, few = around("many", 500), around("more", 900), around("few", 7)
    assert _beside([many, more, few], ["remote", "sampling", "py-spy"]) == {"sampling": []}
    assert _beside([few, many], ["remote", "sampling"]) == {}
    assert _beside([many], ["remote"]) == {}


def test_the_cost_is_a_ratio_or_not_known() -> None:
    points: list[dict[str, Any]] = [{"gateway": {"us_per_session_second": value}} for value in (1000.0, 1200.0)]
    assert slowed(points)["ratio"] == pytest.approx(1.2)
    assert slowed([{"gateway": None}, points[1]])["ratio"] is None
    assert slowed([points[0], {"gateway": {"us_per_session_second": None}}])["ratio"] is None


@pytest.mark.anyio
async def test_py_spy_says_that_it_cannot_read_a_free_threaded_build(tmp_path: Path) -> None:
    target = Target(1, (1,), Path("python"), True, lambda: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ProfilerFailed, match="PROFILER=remote"):
        await PySpy().start(target, tmp_path)


@pytest.mark.anyio
async def test_forensics_look_when_a_session_stands_still_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def capture(pids: list[int], port: int) -> dict[str, Any]:
        looks.append(port)
        return {"findings": [{"kind": "lost wake-up"}]}

    monkeypatch.setattr("profiles.forensics.profiler.capture", capture)
    monkeypatch.setattr("profiles.forensics.profiler.listening_port", lambda pids: 8000)
    monkeypatch.setattr("profiles.forensics.profiler.is_known_python", lambda pid: True)
    forensics = Forensics()
    await forensics.start(Target(1, (1,), Path("python"), True, lambda: None), tmp_path)  # type: ignore[arg-type,return-value]
    await forensics.look()
    found = await forensics.stop()
    assert looks == [8000]
    assert found == {"findings": [{"kind": "lost wake-up"}]}
    assert (tmp_path / "forensics.json").exists()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
