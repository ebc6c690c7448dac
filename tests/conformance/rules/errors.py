"""Rules of the failed batch: what each fault of the inference server is called, and that the session goes on."""

from typing import Any

import anyio

from tests.conformance.case import TOLERANCE_MS, Case
from tests.conformance.expect import expect
from tests.conformance.rule import Rule, add_rule, rule
from tests.conformance.schema import check_error
from tests.conformance.session import FIRST_ANSWER_S, Message, check_cover, check_numbers

ANSWER_LIMIT_MS = 2000.0
BUFFER_FRAMES = 1500
"""30 s of audio."""
TIMEOUT: dict[str, Any] = {"stage": "inference_request", "kind": "timeout", "retryable": True, "inference_status": None}
_KEYS_MISSING = '{"rms":1.0,"zero_crossings":1,"checksum":1,"samples":1}'
_WRONG_TYPES = '{"rms":"1.0","zero_crossings":1,"checksum":-1,"samples":1,"transcript":"now","audio_bytes":null}'


def check_fields(message: Message, **wanted: object) -> None:
    """Failed unless the message has these values."""
    for key, value in wanted.items():
        got = message.fields.get(key)
        expect(got == value and type(got) is type(value), f"{message}: expected {key} {value!r}, got {got!r}")


async def check_failed_batch(
    case: Case, behaviour: dict[str, object], within_s: float = FIRST_ANSWER_S, **wanted: object
) -> Message:
    """One batch fails by `behaviour` and is reported as `wanted`; the next one is answered, none is sent again.
    The error."""
    audio = case.audio()
    await case.inference.behave(audio, **behaviour)
    async with case.session(audio) as session:
        await session.send_frames(3)
        error = await session.error(within_s)
        check_fields(error, **wanted)
        await case.inference.behave_normally(audio)
        await session.send_frames(2)
        await session.partial()
        check_cover(session.messages)
        check_numbers(session.messages, audio)
        await case.check_requests(audio, session.messages)
    return error


def check_limit(waited_ms: object, name: str = "inference_elapsed_ms") -> None:
    """Failed unless that is the limit of an answer."""
    expect(
        isinstance(waited_ms, int | float) and abs(waited_ms - ANSWER_LIMIT_MS) <= 2 * TOLERANCE_MS,
        f"expected {name} {ANSWER_LIMIT_MS:g} ± {2 * TOLERANCE_MS:g} ms, got {waited_ms!r}",
    )


def _status_rule(status: int, kind: str, *, retryable: bool) -> None:
    async def check(case: Case) -> None:
        await check_failed_batch(
            case,
            {"status": status, "body": "refused", "delay_ms": 50},
            stage="inference_request",
            kind=kind,
            retryable=retryable,
            inference_status=status,
        )

    word = "retryable" if retryable else "not retryable"
    add_rule(Rule(f"error-{status}", f"an answer with {status} is {kind}, {word}", check, inference=True))


_status_rule(429, "http_429", retryable=True)
_status_rule(500, "http_5xx", retryable=True)
_status_rule(503, "http_5xx", retryable=True)
_status_rule(404, "http_5xx", retryable=False)


def _body_rule(name: str, what: str, behaviour: dict[str, object]) -> None:
    async def check(case: Case) -> None:
        await check_failed_batch(
            case,
            behaviour | {"delay_ms": 50},
            stage="inference_response_parse",
            kind="parse_error",
            retryable=False,
        )

    add_rule(Rule(f"error-{name}", f"an answer {what} is a parse_error, not retryable", check, inference=True))


_body_rule("garbage", "that is not JSON", {"body": "\x00garbage{"})
_body_rule("empty-body", "without a body", {"body": ""})
_body_rule("not-object", "that is no JSON object", {"body": "[1,2,3]"})
_body_rule("extra-key", "with an unknown key", {"extra_key": True})
_body_rule("missing-key", "that lacks keys", {"body": _KEYS_MISSING})
_body_rule("wrong-types", "with values of other types", {"body": _WRONG_TYPES})


@rule("error-timeout", "no answer within 2 s is a timeout, retryable", inference=True, timing=True)
async def error_timeout(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, hang=True)
    async with case.session(audio) as session:
        await session.send_frames(3)
        await case.request_in_flight(audio)
        await session.send_frames(2)
        error = await session.error(within_s=3.5)
        await case.inference.behave_normally(audio)
        check_fields(
            error,
            **TIMEOUT,
            inflight_gateway_batches=1,
            gateway_buffer_frames=2,
        )
        log = await case.requests(audio)
        waited_ms = error.arrived_s * 1000 - log.requests[0].arrived_ms
        check_limit(error.fields.get("inference_elapsed_ms"))
        check_limit(waited_ms, "the wait seen from outside")
        await session.partial()
        check_cover(session.messages)
        await case.check_requests(audio, session.messages)
    return f"after {waited_ms:.0f} ms"


@rule(
    "error-half-answer",
    "half an answer, and nothing more within 2 s, is a timeout, retryable",
    inference=True,
    timing=True,
)
async def error_half_answer(case: Case) -> None:
    within_s = FIRST_ANSWER_S + ANSWER_LIMIT_MS / 1000
    error = await check_failed_batch(case, {"half_then": "hang", "delay_ms": 0}, within_s, **TIMEOUT)
    check_limit(error.fields.get("inference_elapsed_ms"))


@rule("error-schema", "an error has exactly its 16 keys, each of its type and in its range", inference=True)
async def error_schema(case: Case) -> None:
    async def fail(behaviour: dict[str, object]) -> None:
        audio = case.audio()
        await case.inference.behave(audio, **behaviour)
        async with case.session(audio) as session:
            await session.send_frames(3)
            check_error((await session.error(within_s=6)).fields)

    async with anyio.create_task_group() as tasks:
        behaviours: list[dict[str, object]] = [{"status": 500}, {"body": "garbage"}, {"hang": True}]
        for behaviour in behaviours:
            tasks.start_soon(fail, behaviour)


@rule("error-ages", "ages run from when the gateway took the frame until the error", inference=True, timing=True)
async def error_ages(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, status=500, delay_ms=400)
    async with case.session(audio) as session:
        await session.send_frames(1)
        await anyio.sleep(0.3)
        await session.send_frames(1)
        error = await session.error()
    expect((error.oldest, error.newest) == (1, 2), f"expected an error of frames 1 … 2, got {error}")
    oldest_ms = (error.arrived_s - session.started_s) * 1000
    elapsed_ms = error.fields.get("inference_elapsed_ms")
    expect(
        isinstance(elapsed_ms, int | float) and 400 <= elapsed_ms <= 400 + 2 * TOLERANCE_MS,
        f"expected inference_elapsed_ms 400 … {400 + 2 * TOLERANCE_MS:g} ms, got {elapsed_ms!r}",
    )
    # The clock of a frame's age starts when the gateway takes it: at once, or as late as the tick that sends it.
    least_ms = float(error.fields["inference_elapsed_ms"])
    for key, seen_ms in (("oldest_age_ms", oldest_ms), ("newest_age_ms", oldest_ms - 300)):
        got = error.fields.get(key)
        expect(
            isinstance(got, int | float) and least_ms <= got <= seen_ms + TOLERANCE_MS,
            f"expected {key} {least_ms:.0f} (inference_elapsed_ms) … {seen_ms:.0f} + {TOLERANCE_MS:g} ms, got {got!r}",
        )
    return f"oldest {error.fields['oldest_age_ms']:.0f} ms, newest {error.fields['newest_age_ms']:.0f} ms"


@rule(
    "overflow",
    "past 30 s of audio the oldest frames are dropped, and one error says which",
    strict=True,
    inference=True,
)
async def overflow(case: Case) -> str:
    too_many = 200
    async with case.session() as session:
        await session.send_frames(BUFFER_FRAMES + too_many)
        error = await session.error()
        check_error(error.fields)
        check_fields(error, stage="websocket_receive", kind="overflow", retryable=True)
        await session.all_covered()
        check_cover(session.messages)
        expect(
            error.frames == too_many,
            f"expected frames 1 … {too_many} dropped of {session.sent} (30 s are {BUFFER_FRAMES} frames), got {error}",
        )
        kept = session.messages[1:]
        expect(all(message.is_partial for message in kept), f"expected the kept frames answered, got {kept[0]}")
        await case.check_requests(session.audio, kept)
    return f"{error.frames} dropped, {sum(message.frames for message in kept)} answered"
