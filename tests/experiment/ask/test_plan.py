"""Options of a person become a plan, or an error that says what is known."""

import platform
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from experiment.ask.asked import Ask, numbers
from experiment.ask.config import load_config
from experiment.ask.plan import Plan, parse_target
from experiment.ask.resolve import Row, resolve, resolve_one
from experiment.ask.schema import ConfigError, Foreign, Variant
from experiment.host import ShapeRefused


def plan(variant: str | None = None, shape: str | None = None, sessions: str | None = None, **options: Any) -> Plan:
    ask = Ask(
        "experiment",
        (variant,) if variant else None,
        (shape,) if shape else None,
        sessions=numbers(sessions),
        **options,
    )
    return resolve_one(load_config(), ask)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiment.ask.plan.usable_cpus", lambda: frozenset({0, 1}))


def test_defaults_are_those_of_the_contract() -> None:
    made = plan()
    assert (made.variant_name, made.shape_name, made.timing_name) == ("gil", "cpuset-1", "quick")
    assert made.sessions == ()
    assert made.infer_port == 9000
    assert made.gateway_limits.cpus == frozenset({1})
    assert made.gateway_limits.quota_vcpus is None
    assert made.gateway_limits.memory_bytes == 2 << 30
    assert made.harness_limits.cpus == frozenset({0})


def test_a_quota_shape_carries_its_period() -> None:
    limits = plan(shape="quota-0.25").gateway_limits
    assert (limits.quota_vcpus, limits.period_ms, limits.cpus) == (0.25, 5, frozenset({1}))


def test_a_shape_that_leaves_no_core_is_refused_unless_shared() -> None:
    with pytest.raises(ShapeRefused, match="HARNESS=shared"):
        plan(shape="cpuset-2")
    made = plan(shape="cpuset-2", harness="shared")
    assert made.cpus is not None
    assert made.cpus.shared


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variant": "nosuch"}, "known: gil"),
        ({"shape": "cpuset-9"}, "known: cpuset-1, cpuset-2"),
        ({"timing": "slow"}, "known: full, quick, smoke"),
        ({"sessions": "ten"}, "SESSIONS: expected"),
        ({"sessions": "0"}, "SESSIONS: expected"),
        ({"sessions": ","}, "SESSIONS: expected"),
        ({"harness": "mine"}, "HARNESS: expected 'shared'"),
        ({"receive": "both"}, "RECEIVE: expected sender or gateway, got 'both'"),
        ({"start": 0}, "START: expected a number of at least 1, got 0"),
        ({"target": "ws://127.0.0.1:1", "receive": "sender"}, "RECEIVE cannot be given to a gateway that already runs"),
        ({"target": "ws://127.0.0.1"}, "TARGET: expected ws://HOST:PORT"),
        ({"target": "ws://127.0.0.1:x"}, "TARGET: expected ws://HOST:PORT"),
        ({"target": "ws://127.0.0.1:1/elsewhere"}, "TARGET: expected ws://HOST:PORT"),
        ({"target": "ws://127.0.0.1:1", "variant": "gil"}, "give one of the two"),
        ({"target": "ws://127.0.0.1:1", "shape": "cpuset-1"}, "leave one of the two out"),
    ],
)
def test_a_wrong_option_says_what_was_expected(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(**options)
    assert said in str(caught.value)


def received(made: Plan) -> tuple[str | None, str | None]:
    return made.shape.receive if made.shape else None, made.not_steered


def test_whole_cpus_receive_for_themselves_where_that_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiment.ask.plan.cannot_steer", lambda cpus: None if cpus == {1} else "other CPUs")
    assert received(plan()) == ("gateway", None)
    assert received(plan(receive="sender")) == ("sender", None)
    assert received(plan(shape="quota-0.5")) == ("sender", None)
    assert received(plan(target="ws://127.0.0.1:1")) == (None, None)
    monkeypatch.setattr("experiment.ask.plan.cannot_steer", lambda _: "no rights")
    assert received(plan()) == ("sender", "no rights")
    assert received(plan(receive="sender")) == ("sender", None)


def test_where_it_means_nothing_the_sender_receives_and_the_plan_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiment.ask.plan.cannot_steer", lambda _: None)
    receive, why = received(plan(shape="quota-0.5", receive="gateway"))
    assert (receive, "a quota does not hold" in str(why)) == ("sender", True)
    receive, why = received(plan(shape="cpuset-2", harness="shared"))
    assert (receive, "shares the gateway's CPUs" in str(why)) == ("sender", True)


def test_a_ladder_begins_by_a_probe_unless_it_is_told_where() -> None:
    def of(**options: Any) -> tuple[int | None, tuple[int, ...] | None]:
        (row,) = resolve(load_config(), Ask("ladder", ("gil",), **options)).rows
        return None if row.ladder is None else row.ladder.start, None if row.probe is None else row.probe.sessions

    assert of() == (200, (40,))
    assert of(shapes=("quota-0.1",)) == (20, (20,))
    assert of(shapes=("quota-2",), harness="shared") == (400, (80,))
    assert of(start=70) == (70, None)
    assert of(sessions=(100,)) == (200, None)
    assert of(sessions=(100,), ladder="no") == (None, None)


@pytest.mark.parametrize("text", ["200,300", "200 300", "200, 300"])
def test_sessions_may_be_a_list(text: str) -> None:
    assert plan(sessions=text).sessions == (200, 300)


def test_a_shape_of_threads_gives_each_its_own_and_shares_the_cores_with_the_harness() -> None:
    made = plan(variant="threads", shape="quota-2x0.25", sessions="60")
    assert made.sessions == (120,)
    assert made.vcpus == 2
    assert made.gateway_limits.quota_vcpus is None
    assert [(sorted(each.cpus or ()), each.quota_vcpus) for each in made.thread_limits] == [([0], 0.25), ([1], 0.25)]
    assert made.harness_limits.cpus == frozenset({0, 1})
    assert made.cpus is not None
    assert not made.cpus.shared


@pytest.mark.parametrize(
    ("variant", "has"),
    [("multiprocess", r"1 there \(2 loops, processes\)"), ("mt-one-loop", "1 there"), ("gil", "1 there")],
)
def test_a_shape_of_threads_refuses_rows_with_others(variant: str, has: str) -> None:
    with pytest.raises(ShapeRefused, match=has):
        plan(variant=variant, shape="quota-2x0.25", sessions="60")


def test_a_row_is_repeated_beside_itself() -> None:
    rows = resolve(load_config(), Ask("compare", ("gil", "gil-h1"), sessions=(100,), aa=True)).rows
    assert [(row.label, row.variant, row.again_of) for row in rows] == [
        ("gil", "gil", None),
        ("gil-again", "gil", "gil"),
        ("gil-h1", "gil-h1", None),
    ]
    assert rows[0].plan == rows[1].plan


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:81", "ws://127.0.0.1:81/", "ws://127.0.0.1:81/ws/stt", "http://127.0.0.1:81"]
)
def test_a_target_is_understood(url: str) -> None:
    assert parse_target(url).websocket_url == "ws://127.0.0.1:81/ws/stt"


def test_an_external_gateway_has_no_shape_of_ours() -> None:
    made = plan(target="ws://127.0.0.1:81", infer_port=9100)
    assert (made.variant_name, made.shape_name, made.infer_port, made.cpus) == ("external", "external", 9100, None)


def rows(*variants: str, **options: Any) -> tuple[Row, ...]:
    return resolve(load_config(), Ask("compare", variants, **options)).rows


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    made = tmp_path / "granian-2.9.0.dev1-cp314-cp314t-manylinux.whl"
    made.touch()
    return made


def test_rows_are_multiplied_by_interpreters_and_by_nothing_else(wheel: Path) -> None:
    made = rows("mt", f"mt+{wheel}+uvloop==0.23.0", pythons=("3.14t", "3.15t"))
    assert [row.label for row in made] == [
        "mt@3.14t",
        "mt@3.15t",
        "mt+granian-2.9.0.dev1+uvloop==0.23.0@3.14t",
        "mt+granian-2.9.0.dev1+uvloop==0.23.0@3.15t",
    ]
    plans = [row.plan for row in made if row.plan is not None]
    assert [plan.build.python for plan in plans] == ["3.14t", "3.15t"] * 2
    assert [plan.variant.interpreter for plan in plans if isinstance(plan.variant, Variant)] == ["3.14t", "3.15t"] * 2
    assert [plan.build.overlay for plan in plans[1:3]] == [(), (str(wheel), "uvloop==0.23.0")]
    assert plans[3].build.facts() == {"python": "3.15t", "with": ["granian-2.9.0.dev1", "uvloop==0.23.0"]}
    assert [row.again_of for row in made] == [None] * 4
    assert [plan.name for plan in plans] == [row.label for row in made]


def test_what_is_laid_over_all_rows_comes_before_their_own(wheel: Path) -> None:
    plain, own = rows("gil", "gil+uvloop==0.22.1", overlay=(str(wheel),))
    assert (plain.label, own.label) == ("gil", "gil+uvloop==0.22.1")
    assert plain.plan is not None
    assert own.plan is not None
    assert plain.plan.build.overlay == (str(wheel),)
    assert own.plan.build.overlay == (str(wheel), "uvloop==0.22.1")


def test_a_row_named_twice_is_its_own_repeat() -> None:
    made = rows("gil", "mt", "gil", "gil")
    assert [(row.label, row.again_of) for row in made] == [
        ("gil", None),
        ("mt", None),
        ("gil-2", "gil"),
        ("gil-3", "gil"),
    ]


def test_an_interpreter_named_by_its_path_is_labelled_by_what_it_is(tmp_path: Path) -> None:
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    (row,) = rows("gil", pythons=(str(base),))
    assert row.label == f"gil@{platform.python_version()}"
    assert row.plan is not None
    assert row.plan.build.facts() == {"python": platform.python_version()}


def test_a_threads_shape_follows_the_build_that_was_named() -> None:
    with pytest.raises(ShapeRefused, match="threads has 1 there"):
        rows("threads", shapes=("quota-2x0.25",), pythons=("3.14",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pythons": ("3.12",)}, "PYTHONS: expected some of 3.13, 3.13t"),
        ({"pythons": ("/no/such/python",)}, "PYTHONS: expected the path of a CPython, got /no/such/python"),
        ({"overlay": ("dist/none.whl",)}, "WITH: dist/none.whl: expected a wheel"),
        ({"variants": ("gil+dist/none.whl",)}, "VARIANTS, gil+dist/none.whl: dist/none.whl: expected a wheel"),
        ({"target": "ws://127.0.0.1:1", "pythons": ("3.14",)}, "PYTHONS and WITH cannot be given to a gateway"),
    ],
)
def test_a_wrong_build_says_what_was_expected(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        resolve(load_config(), Ask("compare", **options))


def test_a_foreign_row_has_no_build() -> None:
    config = load_config()
    foreign = {"theirs": Foreign(about="another's", command=["true"])}
    made = resolve(
        config.model_copy(update={"foreign": foreign}), Ask("compare", ("gil", "theirs"), pythons=("3.14", "3.15"))
    )
    assert [row.label for row in made.rows] == ["gil@3.14", "gil@3.15", "theirs"]
    with pytest.raises(ConfigError, match="expected one of our rows before the"):
        resolve(config.model_copy(update={"foreign": foreign}), Ask("compare", ("theirs+uvloop==0.23.0",)))
