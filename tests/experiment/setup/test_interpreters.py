"""The order of the search, with steps that are told what to find; and what is remembered of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiment.setup import interpreters
from experiment.setup.facts import Request
from experiment.setup.failures import SetupError, Unavailable
from experiment.setup.interpreters import Steps, search
from experiment.setup.places import Memory, Places

from .test_facts import made_up

Facts = dict[str, Any]


class Machine:
    """A machine with what the arguments say. `asked` is what was tried, in order."""

    def __init__(
        self,
        *,
        find: Facts | None = None,
        install: Facts | None = None,
        here: list[Facts] | None = None,
        build: Facts | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.steps = Steps(
            find=self._step("find", find),
            install=self._step("install", install),
            present=lambda: self.asked.append("present") or here or [],  # type: ignore[func-returns-value]
            build=self._step("build", build),
        )

    def _step(self, name: str, facts: Facts | None) -> Callable[[Request], Facts]:
        def step(_: Request) -> Facts:
            self.asked.append(name)
            if facts is None:
                raise Unavailable(f"no {name} here")
            return facts

        return step


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "interpreters.json")


OLD = made_up("3.11.2")
OLD_FREE = made_up("3.13.5", free_threaded=True)


@pytest.mark.parametrize(
    ("request_", "machine", "asked", "tag", "stand_in"),
    [
        ("3.14", Machine(find=made_up("3.14.7"), here=[OLD]), ["find"], "3.14.7", False),
        ("3.14", Machine(install=made_up("3.14.10"), here=[OLD]), ["find", "install"], "3.14.10", False),
        ("3.14", Machine(here=[OLD], build=made_up("3.14.9")), ["find", "install", "present"], "3.11.2", True),
        ("3.14", Machine(here=[made_up("3.15.0"), OLD]), ["find", "install", "present"], "3.11.2", True),
        ("3.14", Machine(build=made_up("3.13.5")), ["find", "install", "present", "build"], "3.13.5", True),
        ("3.14t", Machine(here=[OLD, OLD_FREE], build=OLD_FREE), ["find", "install", "build"], "3.13.5t", True),
        ("3.14t", Machine(here=[OLD, OLD_FREE]), ["find", "install", "build", "present"], "3.13.5t", True),
        # uv answering with the other build, or another version, is no answer.
        (
            "3.14",
            Machine(find=made_up("3.14.7", free_threaded=True), here=[OLD]),
            ["find", "install", "present"],
            "3.11.2",
            True,
        ),
    ],
)
def test_the_order(request_: str, machine: Machine, asked: list[str], tag: str, stand_in: bool, memory: Memory) -> None:
    said: list[str] = []
    found = search(Request.parse(request_), machine.steps, memory, said.append, allow_stand_in=True)
    assert machine.asked == asked
    assert (found.tag, found.stand_in) == (tag, stand_in)
    lines = [line for line in said if line.startswith("using ")]
    assert len(lines) == (1 if stand_in else 0)
    for line in lines:
        assert f"using CPython {tag} at {found.executable} in place of {request_}" in line


def test_nothing_to_be_had_lists_every_attempt_and_three_ways_out(memory: Memory) -> None:
    machine = Machine(here=[OLD])
    with pytest.raises(SetupError) as caught:
        search(Request.parse("3.14t"), machine.steps, memory, print, allow_stand_in=True)
    text = str(caught.value)
    assert caught.value.reason == "no CPython 3.14t for this machine"
    for what in ("uv python find 3.14t", "uv python install 3.14t", "source for 3.14t", "already here"):
        assert what in text
    assert "no install here" in text
    assert len(caught.value.tried) == 4
    assert len(caught.value.ways_out) == 3
    assert "--disable-gil" in text


def test_a_stand_in_is_refused_where_it_does_not_do(memory: Memory) -> None:
    machine = Machine(here=[OLD], build=made_up("3.13.5"))
    with pytest.raises(SetupError) as caught:
        search(Request.parse("3.14"), machine.steps, memory, print, allow_stand_in=False)
    assert "present" not in machine.asked
    assert "is 3.13.5" in str(caught.value)


def test_a_costly_failure_is_not_paid_for_again_within_a_day(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "_WORTH_REMEMBERING_S", -1.0)
    monkeypatch.delenv("LAB_RETRY", raising=False)
    request = Request.parse("3.14")

    def asked() -> list[str]:
        machine = Machine(here=[OLD])
        search(request, machine.steps, memory, print, allow_stand_in=True)
        return machine.asked

    assert asked() == ["find", "install", "present"]
    assert asked() == ["find", "present"]
    with pytest.raises(SetupError, match=r"no install here\); LAB_RETRY=1 or `make clean` tries again"):
        search(request, Machine().steps, memory, print, allow_stand_in=True)
    monkeypatch.setenv("LAB_RETRY", "1")
    assert asked() == ["find", "install", "present"]
    monkeypatch.delenv("LAB_RETRY")
    later = time.time() + 25 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert asked() == ["find", "install", "present"]


def test_a_quick_failure_is_simply_met_again(memory: Memory) -> None:
    for _ in range(2):
        machine = Machine(here=[OLD])
        search(Request.parse("3.14"), machine.steps, memory, print, allow_stand_in=True)
        assert "install" in machine.asked


def test_a_choice_holds_until_its_file_changes(places: Places, memory: Memory, tmp_path: Path) -> None:
    executable = tmp_path / "python3.14"
    executable.write_text("one")
    request = Request.parse("3.14")
    facts = made_up("3.14.7", base_executable=str(executable))
    found = search(request, Machine(find=facts).steps, memory, print, allow_stand_in=True)
    interpreters.remember(found, places, memory, print)
    assert interpreters.remembered(request, places, memory, allow_stand_in=False) == (found, False)
    assert interpreters.remembered(Request.parse("3.14t"), places, memory, allow_stand_in=True) is None
    executable.write_text("two, upgraded")
    assert interpreters.remembered(request, places, memory, allow_stand_in=True) is None
