"""Rules that take the inference server, or connections to it, down: nothing runs beside them."""

from tests.conformance.case import Case
from tests.conformance.expect import expect
from tests.conformance.rule import rule
from tests.conformance.rules.errors import check_failed_batch, check_fields
from tests.conformance.session import check_cover

RESET = {"stage": "inference_request", "kind": "connection_reset", "retryable": True, "inference_status": None}


@rule("error-reset", "a reset inference connection is connection_reset, retryable", inference=True, alone=True)
async def error_reset(case: Case) -> None:
    await check_failed_batch(case, {"reset": True, "delay_ms": 50}, **RESET)


@rule(
    "inference-killed",
    "a killed inference server fails batches as connection_reset; after its restart they are answered",
    inference=True,
    alone=True,
)
async def inference_killed(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)
    async with case.session(audio) as session:
        await session.send_frames(3)
        await case.request_in_flight(audio)
        await case.inference.kill()
        in_flight = await session.error(within_s=2.5)
        check_fields(in_flight, **RESET)
        await session.send_frames(2)
        refused = await session.error(within_s=2.5)
        check_fields(refused, **RESET)
        elapsed_ms = refused.fields.get("inference_elapsed_ms")
        expect(
            elapsed_ms is None or (isinstance(elapsed_ms, int | float) and elapsed_ms <= 1200),
            f"expected a refused connection reported within 1 s, got inference_elapsed_ms {elapsed_ms!r}",
        )
        await case.inference.start()
        await session.send_frames(2)
        await session.partial()
        check_cover(session.messages)
    return f"in flight: {in_flight.fields.get('message')!r}; refused: {refused.fields.get('message')!r}"
