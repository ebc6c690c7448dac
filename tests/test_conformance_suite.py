"""The suite on trial: a right gateway passes every rule, and each fault fails exactly the rules that name it."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from simulator.port import free_port
from tests.conformance.inference import serve_inference
from tests.conformance.rule import Outcome, Rule
from tests.conformance.suite import choose_rules, parse_target, run_rules
from tests.conformance.verdict import exit_status, label
from tests.conformance_reference import FAULTS

CHECKOUT = Path(__file__).parents[1]

# Each fault, and exactly the rules that must fail for it; beside them the rules of ALWAYS run, and must pass.
ALWAYS = {"health", "golden", "partial-schema", "cover", "start-not-json", "size-639"}
CAUGHT = {
    "": set[str](),
    "wrong-rms": {"golden", "partial-numbers"},
    "missing-key": {"partial-schema"},
    "float-counts": {"partial-schema"},
    "closes-1000": {"start-not-json", "start-array", "start-scalar", "start-other-type", "start-extra-key"},
    "lax-start": {"start-empty-object", "start-partial", "start-error"},
    "any-size": {"size-639", "size-1280"},
    "two-in-flight": {"one-in-flight"},
    "drift": {"cadence-no-drift"},
    "same-phase": {"phases"},
    "resends": {"error-500"},
    "dies-on-error": {"error-500", "error-404"},
    "swallows-frames": {"cover"},
    "mixes-sessions": {"separate-sessions"},
    "silent-overflow": {"overflow"},
    "empty-ticks": {"idle-tick"},
    "keeps-vanished": {"vanish-rst"},
    "costs-others": {f"hostile-then-{what}" for what in ("close", "violation", "ping", "audio")},
    "impatient": {"slow-answers"},
    "waits-for-the-rest": {"error-half-answer"},
    "chokes-on-much": {"error-huge"},
}
# The same for rules that run alone: each of these gateways has an inference server of its own.
CAUGHT_ALONE = {
    "believes-half": {"broken-answers"},
    "reads-on": {"broken-answers"},
    "silent-timeout": {"inference-stopped"},
    "stays-down": {"inference-killed"},
}


@contextmanager
def reference(infer_port: int, *faults: str) -> Iterator[tuple[dict[str, int], int]]:
    """Ports of reference gateways by fault, and the process that serves them all."""
    command = [sys.executable, "-m", "tests.conformance_reference", str(infer_port), *faults]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process.pid
        finally:
            process.kill()


def suite(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.conformance", *map(str, arguments)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=90, check=False)


def failed(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.rule.id: outcome.reason for outcome in outcomes if outcome.result != "PASS"}


def test_a_right_gateway_passes_every_rule(tmp_path: Path) -> None:
    infer_port, report = free_port(), tmp_path / "report.json"
    with reference(infer_port) as (ports, pid):
        done = suite(
            *("--target", f"ws://127.0.0.1:{ports['']}", "--infer-port", infer_port, "--pid", pid, "--json", report)
        )
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, verdict, closing = done.stdout.splitlines()
    rules = choose_rules()
    assert verdict == "conforms"
    assert closing == f"{len(rules)} passed, 0 failed, 0 skipped"
    assert sorted(line.split()[1] for line in lines) == sorted(rule.id for rule in rules)
    assert {line.split()[1] for line in lines if "[strict]" in line} == {rule.id for rule in rules if rule.strict}
    stored = json.loads(report.read_text())
    assert (stored["label"], stored["passed"]) == ("conforms", len(rules))
    assert [rule["id"] for rule in stored["rules"]] == [rule.id for rule in rules]


@pytest.fixture(scope="module")
def outcomes_by_fault() -> dict[str, list[Outcome]]:
    """Every fault's outcomes, judged side by side: they share an inference server, and their audio differs."""
    outcomes: dict[str, list[Outcome]] = {}
    infer_port = free_port()

    async def judge_all() -> None:
        with reference(infer_port, *(CAUGHT.keys() - {""})) as (ports, pid):
            async with serve_inference(infer_port) as inference, anyio.create_task_group() as tasks:

                async def judge(fault: str, port: int) -> None:
                    gateway = parse_target(f"ws://127.0.0.1:{port}")
                    rules = choose_rules(sorted(ALWAYS | CAUGHT[fault]))
                    outcomes[fault] = await run_rules(gateway, inference, rules, pid)

                for fault, port in ports.items():
                    tasks.start_soon(judge, fault, port)

    anyio.run(judge_all)
    return outcomes


@pytest.mark.parametrize("fault", sorted(CAUGHT))
def test_a_fault_fails_exactly_its_rules(outcomes_by_fault: dict[str, list[Outcome]], fault: str) -> None:
    reasons = failed(outcomes_by_fault[fault])
    assert reasons.keys() == CAUGHT[fault], reasons
    assert all(reasons.values()), "a failure says what was expected and what came"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("fault", CAUGHT_ALONE)
async def test_a_fault_fails_exactly_its_rules_that_run_alone(fault: str) -> None:
    infer_port = free_port()
    rules = choose_rules(["golden", *CAUGHT_ALONE[fault]])
    with reference(infer_port, fault) as (ports, pid):
        async with serve_inference(infer_port) as inference:
            outcomes = await run_rules(parse_target(f"ws://127.0.0.1:{ports[fault]}"), inference, rules, pid)
    assert failed(outcomes).keys() == CAUGHT_ALONE[fault], failed(outcomes)


def test_every_fault_is_tried() -> None:
    assert CAUGHT.keys() | CAUGHT_ALONE.keys() == FAULTS.keys() | {""}


def test_strict_rules_alone_leave_a_gateway_public(outcomes_by_fault: dict[str, list[Outcome]]) -> None:
    assert label(outcomes_by_fault["lax-start"]) == "conforms (public)"
    assert exit_status(outcomes_by_fault["lax-start"]) == 1
    assert label(outcomes_by_fault["wrong-rms"]) == "does not conform"
    assert label(outcomes_by_fault[""]) == "conforms"


def test_a_gateway_that_points_elsewhere_is_skipped_with_the_way_out() -> None:
    infer_port = free_port()
    with reference(free_port()) as (ports, _):
        done = suite("--target", f"ws://127.0.0.1:{ports['']}", "--infer-port", infer_port, "--only", "health,golden")
    assert "PASS health" in done.stdout
    wanted = f"no inference request arrived on port {infer_port}: point the gateway at http://127.0.0.1:{infer_port}"
    assert any(line.startswith("SKIP golden") and wanted in line for line in done.stdout.splitlines()), done.stdout
    assert done.stdout.splitlines()[-1] == "1 passed, 0 failed, 1 skipped"
    assert done.returncode == 1, "a gateway whose answers were never seen does not conform"


def test_without_a_process_the_rule_that_needs_one_is_skipped() -> None:
    infer_port = free_port()
    with reference(infer_port) as (ports, _):
        done = suite("--target", f"ws://127.0.0.1:{ports['']}", "--infer-port", infer_port, "--only", "vanish-rst")
    assert "--pid" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 passed, 0 failed, 1 skipped"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--target", "http://127.0.0.1:1"], "ws://HOST:PORT"),
        (["--target", "ws://127.0.0.1:1", "--only", "health,goldn"], "goldn"),
    ],
)
def test_bad_input_is_told(arguments: list[str], word: str) -> None:
    done = suite(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr


def test_a_taken_inference_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = suite("--target", "ws://127.0.0.1:1", "--infer-port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "did not start" in done.stderr


def _outcome(result: Any, *, strict: bool = False, inference: bool = False) -> Outcome:
    async def check(case: object) -> None: ...

    return Outcome(Rule("x", "x", check, strict=strict, inference=inference), result, "", 0.0)


@pytest.mark.parametrize(
    ("outcomes", "wanted_label", "wanted_status"),
    [
        ([_outcome("PASS"), _outcome("PASS", inference=True)], "conforms", 0),
        ([_outcome("PASS"), _outcome("SKIP")], "conforms", 0),
        ([_outcome("PASS"), _outcome("SKIP", inference=True), _outcome("PASS", inference=True)], "conforms", 0),
        ([_outcome("PASS"), _outcome("FAIL", strict=True)], "conforms (public)", 1),
        ([_outcome("FAIL"), _outcome("FAIL", strict=True)], "does not conform", 1),
        ([_outcome("SKIP"), _outcome("SKIP", inference=True)], "does not conform", 1),
        ([_outcome("PASS"), _outcome("SKIP", inference=True)], "does not conform", 1),
    ],
)
def test_the_verdict(outcomes: list[Outcome], wanted_label: str, wanted_status: int) -> None:
    assert (label(outcomes), exit_status(outcomes)) == (wanted_label, wanted_status)
