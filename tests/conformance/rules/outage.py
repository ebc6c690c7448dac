"""Rules of an inference server that ends, stands still, or answers what it must not.

Most run alone: they take down what all sessions share.
"""

import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from tests.conformance.audio import Audio
from tests.conformance.case import Case
from tests.conformance.expect import expect
from tests.conformance.rule import rule
from tests.conformance.rules.errors import ANSWER_LIMIT_MS, TIMEOUT, check_failed_batch, check_fields, check_limit
from tests.conformance.rules.hostile import beside_an_innocent
from tests.conformance.session import FIRST_ANSWER_S, Message, Session, check_cover, check_numbers

RESET: dict[str, Any] = {
    "stage": "inference_request",
    "kind": "connection_reset",
    "retryable": True,
    "inference_status": None,
}
BAD_BODY: dict[str, Any] = {
    "stage": "inference_response_parse",
    "kind": "parse_error",
    "retryable": False,
    "inference_status": 200,
}
CROWD = 20
TICK_S = 1.0
HUGE_BYTES = 8_000_000

# How an answer breaks, and what its batch's error may say: HTTP leaves some room where the connection goes on.
BROKEN: dict[str, tuple[dict[str, object], tuple[dict[str, Any], ...]]] = {
    "half an answer, then FIN": ({"half_then": "fin"}, (RESET,)),
    "half an answer, then RST": ({"half_then": "rst"}, (RESET,)),
    "half an answer, ended as if whole": ({"half_then": "end"}, (RESET, BAD_BODY)),
    "no HTTP": ({"no_http": True}, (RESET, BAD_BODY, TIMEOUT)),
}


@asynccontextmanager
async def sessions_with(case: Case, audios: Sequence[Audio]) -> AsyncIterator[list[Session]]:
    """Sessions open side by side."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(case.session(audio)) for audio in audios]


@asynccontextmanager
async def crowd(case: Case, first: Audio) -> AsyncIterator[list[Session]]:
    """Many sessions that stream, the first of them `first`."""
    audios = [first, *(case.audio() for _ in range(CROWD - 1))]
    async with sessions_with(case, audios) as sessions, AsyncExitStack() as stack:
        for session in sessions:
            await stack.enter_async_context(session.streaming(every_s=0.1))
        yield sessions


async def each(sessions: Sequence[Session], does: Callable[[Session], Coroutine[Any, Any, None]]) -> None:
    """Do it with all of them at once."""
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(does, session)


async def first_error(session: Session, within_s: float) -> Message:
    """The next error; batches that were answered before it are passed over."""
    until_s = time.monotonic() + within_s
    while (message := await session.next_message(until_s - time.monotonic(), "an error")).is_partial:
        pass
    return message


async def check_recovered(session: Session, since_s: float) -> None:
    """Failed unless the server, which was back at `since_s`, answers this session again: one batch may have been under
    way then. Nothing was lost without a word."""
    late = 0
    while not (message := await session.next_message(what="a partial")).is_partial:
        late += message.arrived_s > since_s
        expect(late <= 1, f"expected a partial once the inference server was back, got {message}")
    check_cover(session.messages)
    check_numbers(session.messages, session.audio)


async def check_sent_once(case: Case, session: Session) -> None:
    """Failed where two requests had the same body."""
    bodies = [request.body_sha256 for request in (await case.requests(session.audio)).requests]
    expect(len(set(bodies)) == len(bodies), f"expected each batch sent once, got {len(bodies)} requests with repeats")


@rule(
    "error-huge",
    "an answer of 8 MB that is no JSON is a parse_error, and holds up nobody else",
    inference=True,
    timing=True,
)
async def error_huge(case: Case) -> str:
    async def does() -> None:
        await check_failed_batch(case, {"body": "x" * HUGE_BYTES}, **BAD_BODY)

    return await beside_an_innocent(case, [does])


@rule("error-reset", "a reset inference connection is connection_reset, retryable", inference=True, alone=True)
async def error_reset(case: Case) -> None:
    await check_failed_batch(case, {"reset": True, "delay_ms": 50}, **RESET)


@rule(
    "broken-answers",
    "half an answer, no HTTP, or more than was declared cost one batch each; the next ones are answered",
    inference=True,
    alone=True,
)
async def broken_answers(case: Case) -> str:
    audios = {what: case.audio() for what in (*BROKEN, "more than declared")}
    *broken, too_long = audios.values()
    for audio, (behaviour, _) in zip(broken, BROKEN.values(), strict=True):
        await case.inference.behave(audio, **behaviour, delay_ms=0)
    # The next batch's answer, as it seems to somebody who reads on: of two frames, but of other audio.
    whole, lie = (too_long.prediction(1, frames).to_json().decode() for frames in (3, 2))
    surplus = f"HTTP/1.1 200 OK\r\ncontent-length: {len(lie)}\r\n\r\n{lie}"
    await case.inference.behave(too_long, body=whole + surplus, declared_bytes=len(whole), delay_ms=0)
    said: dict[str, str] = {}

    async def breaks(session: Session) -> None:
        await session.send_frames(3)
        message = await session.next_message(FIRST_ANSWER_S + ANSWER_LIMIT_MS / 1000)
        what = next(what for what, audio in audios.items() if audio is session.audio)
        allowed = BROKEN[what][1] if what in BROKEN else (RESET, BAD_BODY)
        if what in BROKEN or not message.is_partial:
            told = {key: message.fields.get(key) for key in ("stage", "kind", "retryable")}
            kinds = [{key: one[key] for key in told} for one in allowed]
            expect(told in kinds, f"expected {kinds} after {what}, got {message}")
        said[what] = str(message.fields.get("kind", "answered"))

    async def goes_on(session: Session) -> None:
        await session.send_frames(2)
        await session.partial()
        check_cover(session.messages)
        check_numbers(session.messages, session.audio)
        await check_sent_once(case, session)

    async with sessions_with(case, list(audios.values())) as sessions:
        await each(sessions, breaks)
        for audio in audios.values():
            await case.inference.behave_normally(audio)
        await each(sessions, goes_on)
    return ", ".join(f"{what}: {kind}" for what, kind in said.items())


@rule(
    "inference-stopped",
    "a server that stands still fails each batch once, as timeout; when it goes on, all sessions are answered again",
    inference=True,
    alone=True,
)
async def inference_stopped(case: Case) -> str:
    """The stop lasts until each of the sessions was told: the next tick of some, then the limit of an answer."""
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=500)

    async def times_out(session: Session) -> None:
        error = await first_error(session, TICK_S + ANSWER_LIMIT_MS / 1000 + 0.5)
        check_fields(error, **TIMEOUT)
        check_limit(error.fields.get("inference_elapsed_ms"))

    async with crowd(case, audio) as sessions:
        await case.request_in_flight(audio)
        stopped_s = time.monotonic()
        case.inference.stand_still()
        try:
            await each(sessions, times_out)
        finally:
            case.inference.go_on()
        since_s = time.monotonic()
        await each(sessions, lambda session: check_recovered(session, since_s))
    for session in sessions:
        await check_sent_once(case, session)
    return f"stopped for {since_s - stopped_s:.1f} s, {CROWD} sessions"


@rule(
    "inference-killed",
    "a killed inference server fails batches as connection_reset; after its restart all sessions are answered",
    inference=True,
    alone=True,
)
async def inference_killed(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)

    async def fails(session: Session) -> None:
        check_fields(await first_error(session, TICK_S + 1.5), **RESET)

    async def fails_twice(session: Session) -> None:
        await fails(session)
        refused = await session.error(within_s=2.5)
        check_fields(refused, **RESET)
        elapsed_ms = refused.fields.get("inference_elapsed_ms")
        expect(
            elapsed_ms is None or (isinstance(elapsed_ms, int | float) and elapsed_ms <= 1200),
            f"expected a refused connection reported within 1 s, got inference_elapsed_ms {elapsed_ms!r}",
        )

    async with crowd(case, audio) as sessions:
        await case.request_in_flight(audio)
        await case.inference.kill()
        in_flight, *others = sessions
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fails_twice, in_flight)
            tasks.start_soon(each, others, fails)
        errors = [message.fields.get("message") for message in in_flight.messages]
        await case.inference.start()
        since_s = time.monotonic()
        await each(sessions, lambda session: check_recovered(session, since_s))
    return f"{CROWD} sessions; in flight: {errors[0]!r}; refused: {errors[1]!r}"
