"""A run of the suite: most rules side by side, a timing rule that failed once more alone, the disturbing ones last."""

import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import anyio

from tests.conformance.case import Case
from tests.conformance.expect import Failed, Skipped
from tests.conformance.inference import Inference, http_json, serve_inference
from tests.conformance.rule import Outcome, Result, Rule
from tests.conformance.rules.registry import RULES
from tests.conformance.wire import Address

HEALTH_LIMIT_S = 10.0
RULE_LIMIT_S = 20.0
SIDE_BY_SIDE = 40

Report = Callable[[Outcome], None]


class BadInput(ValueError):
    """An argument that the suite cannot run with: what was given, and what would do."""


def parse_target(target: str) -> Address:
    """`ws://host:port` as an address."""
    try:
        parts = urlsplit(target)
        if parts.scheme == "ws" and parts.hostname and parts.port and parts.path in ("", "/", "/ws/stt"):
            return Address(parts.hostname, parts.port)
    except ValueError:
        pass
    raise BadInput(f"--target: expected ws://HOST:PORT, got {target!r}")


def choose_rules(only: Sequence[str] | None = None, *, public: bool = False) -> list[Rule]:
    """The rules to run; `public` leaves the strict ones out."""
    unknown = sorted(set(only or ()) - RULES.keys())
    if unknown:
        raise BadInput(f"--only: unknown rules {', '.join(unknown)}; known: {', '.join(RULES)}")
    return [rule for rule in RULES.values() if (only is None or rule.id in only) and not (public and rule.strict)]


async def run_suite(
    target: str,
    infer_port: int,
    pid: int | None = None,
    only: Sequence[str] | None = None,
    *,
    public: bool = False,
    infer_pid: int | None = None,
    report: Report = lambda outcome: None,
) -> list[Outcome]:
    """Serve inference on `infer_port` and judge the gateway at `target`.

    Args:
        target: ws://host:port of a gateway that sends its batches to http://127.0.0.1:`infer_port`.
        pid: the gateway's process; without it, rules that look into it are skipped.
        only: ids of rules; all by default.
        infer_pid: the process of an inference server that runs on `infer_port` already, and goes on after.
        report: told each outcome as soon as it is settled.

    Raises:
        BadInput: no such rule, no such target, or nothing answers there.
        CannotServe: the inference server did not come up, for example as the port is taken.
    """
    gateway, rules = parse_target(target), choose_rules(only, public=public)
    async with serve_inference(infer_port, infer_pid) as inference:
        await wait_for_gateway(gateway)
        return await run_rules(gateway, inference, rules, pid, report=report)


async def wait_for_gateway(gateway: Address) -> None:
    """Wait until GET /health answers, whatever it says: judging that is a rule's business."""
    trouble: Exception | None = None
    deadline_s = time.monotonic() + HEALTH_LIMIT_S
    while time.monotonic() < deadline_s:
        try:
            status, _ = await http_json(gateway.host, gateway.port, "GET", "/health")
            if status < 500:
                return
            trouble = RuntimeError(f"GET /health answered {status}")
        except (OSError, http.client.HTTPException) as error:
            trouble = error
        await anyio.sleep(0.1)
    raise BadInput(f"no gateway answered at {gateway.host}:{gateway.port} within {HEALTH_LIMIT_S:g} s: {trouble!r}")


async def run_rules(
    gateway: Address,
    inference: Inference,
    rules: Sequence[Rule],
    pid: int | None = None,
    *,
    report: Report = lambda outcome: None,
) -> list[Outcome]:
    """Judge one gateway by `rules`, with an inference server that runs; outcomes in the order of `rules`."""
    outcomes: dict[str, Outcome] = {}
    unseen: dict[str, Outcome] = {}
    again: list[Rule] = []
    room = anyio.CapacityLimiter(SIDE_BY_SIDE)

    async def run(rule: Rule, *, is_retry: bool) -> None:
        outcome, saw_request = await _run_rule(rule, Case(gateway, inference, pid))
        if rule.inference and not saw_request and outcome.result != "SKIP":
            unseen[rule.id] = outcome
        elif rule.timing and outcome.result == "FAIL" and not is_retry:
            again.append(rule)
        else:
            outcomes[rule.id] = outcome
            report(outcome)

    async def run_in_turn(rule: Rule) -> None:
        async with room:
            await run(rule, is_retry=False)

    async with anyio.create_task_group() as tasks:
        for rule in rules:
            if not rule.alone:
                tasks.start_soon(run_in_turn, rule)
    for rule in again:
        await run(rule, is_retry=True)
    for rule in rules:
        if rule.alone:
            await run(rule, is_retry=False)

    others_saw = any(outcome.rule.inference and outcome.result != "SKIP" for outcome in outcomes.values())
    for id, outcome in unseen.items():
        outcomes[id] = _judge_unseen(outcome, inference.port, others_saw=others_saw)
        report(outcomes[id])
    return [outcomes[rule.id] for rule in rules]


def _judge_unseen(outcome: Outcome, port: int, *, others_saw: bool) -> Outcome:
    """A rule without a request: the gateway's fault, where it sends other sessions' requests here."""
    if not others_saw:
        where = f"http://127.0.0.1:{port}"
        reason = f"no inference request arrived on port {port}: point the gateway at {where}"
        return replace(outcome, result="SKIP", reason=reason)
    reason = outcome.reason if outcome.result == "FAIL" else "it was answered"
    return replace(outcome, result="FAIL", reason=f"no inference request arrived for this session's audio; {reason}")


async def _run_rule(rule: Rule, case: Case) -> tuple[Outcome, bool]:
    """One rule's outcome, and whether the inference server saw any of its audio."""
    began_s = time.monotonic()
    result: Result = "FAIL"
    reason = f"not done within {RULE_LIMIT_S:g} s"
    try:
        with anyio.move_on_after(RULE_LIMIT_S):
            reason = await rule.check(case) or ""
            result = "PASS"
    except* Failed as group:
        result, reason = "FAIL", _first(group)
    except* Skipped as group:
        result, reason = "SKIP", _first(group)
    except* (OSError, anyio.BrokenResourceError) as group:
        result, reason = "FAIL", f"the connection broke: {_first(group)}"
    seconds = time.monotonic() - began_s
    saw_request = not rule.inference or await case.saw_request()
    return Outcome(rule, result, reason, seconds), saw_request


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or repr(error)
