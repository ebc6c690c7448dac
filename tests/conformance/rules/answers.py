"""Rules of the answered batch: what is asked, and what the partial says."""

import math

import anyio

from tests.conformance.audio import CPU_PASSES, FRAME_BYTES, GOLDEN
from tests.conformance.case import TOLERANCE_MS, Case
from tests.conformance.expect import expect
from tests.conformance.rule import rule
from tests.conformance.schema import check_partial
from tests.conformance.session import check_cover, check_numbers

CROWD = 20
DELAYS_MS = (85, 3 * 85, 1800, 85)
"""What the model takes; three times that; little less than the limit of 2 s; as ever."""


@rule("golden", "frame 1 of session 0 gives the golden numbers", inference=True)
async def golden(case: Case) -> str:
    async with case.session(case.golden_audio()) as session:
        await session.send_frames(1)
        fields = (await session.partial()).fields
    for key, value in GOLDEN._asdict().items():
        got = fields.get(key)
        same = got == value or (key == "rms" and isinstance(got, float) and math.isclose(got, value, rel_tol=1e-12))
        expect(same, f"expected {key} {value!r}, got {got!r}")
    return f"checksum {GOLDEN.checksum}"


@rule("partial-schema", "a partial has exactly its 14 keys, each of its type and in its range", inference=True)
async def partial_schema(case: Case) -> None:
    async with case.session() as session:
        await session.send_frames(3)
        check_partial((await session.partial()).fields)
        await session.send_frames(1)
        check_partial((await session.partial()).fields)


@rule("partial-numbers", "a partial's numbers are those of its own frames", inference=True)
async def partial_numbers(case: Case) -> None:
    async with case.session() as session:
        for count in (1, 7):
            await session.send_frames(count)
            await session.partial()
        check_numbers(session.messages, session.audio)


@rule("cover", "partials cover the frames from 1 on without gap or overlap", inference=True)
async def cover(case: Case) -> str:
    async with case.session() as session:
        async with session.streaming():
            await session.partials(3)
        await session.all_covered()
        check_cover(session.messages)
        return f"{session.sent} frames in {len(session.messages)} messages"


@rule("request", "each batch is one POST of its frames joined, with x-cpu-passes: 4", inference=True)
async def request(case: Case) -> None:
    async with case.session() as session:
        async with session.streaming():
            await session.partials(2)
        await session.all_covered()
        log = await case.check_requests(session.audio, session.messages)
        for one in log.requests:
            expect(one.cpu_passes == str(CPU_PASSES), f"expected x-cpu-passes: {CPU_PASSES}, got {one.cpu_passes!r}")
            expect(one.body_bytes % FRAME_BYTES == 0, f"expected whole frames, got {one.body_bytes} bytes")


@rule("inflight-model-jobs", "a partial whose answer was the only one outstanding says 0", inference=True)
async def inflight_model_jobs(case: Case) -> None:
    async with case.session() as session:
        await session.send_frames(2)
        jobs = (await session.partial()).fields.get("inflight_model_jobs")
    expect(jobs == 0, f"expected inflight_model_jobs 0 after the only request was answered, got {jobs!r}")


@rule("separate-sessions", f"the audio of {CROWD} concurrent connections is never mixed", inference=True)
async def separate_sessions(case: Case) -> None:
    async def talk() -> None:
        async with case.session() as session:
            async with session.streaming(0.1):
                await session.partials(2)
            await session.all_covered()
            check_cover(session.messages)
            check_numbers(session.messages, session.audio)

    async with anyio.create_task_group() as tasks:
        for _ in range(CROWD):
            tasks.start_soon(talk)


@rule(
    "slow-answers",
    "answers three times slower, or all but too late, are awaited one at a time; quick ones are relayed at once again",
    inference=True,
    timing=True,
)
async def slow_answers(case: Case) -> str:
    audio = case.audio()
    latencies_ms = []
    async with case.session(audio) as session:
        async with session.streaming(0.1):
            for delay_ms in DELAYS_MS:
                await case.inference.behave(audio, delay_ms=delay_ms)
                message = await session.partial()
                arrived_ms = (await case.requests(audio)).requests[-1].arrived_ms
                latency_ms = message.arrived_s * 1000 - arrived_ms
                expect(
                    delay_ms <= latency_ms <= delay_ms + TOLERANCE_MS,
                    f"expected the partial {delay_ms} … {delay_ms} + {TOLERANCE_MS:g} ms after its request, "
                    f"got {latency_ms:.0f} ms",
                )
                latencies_ms.append(latency_ms)
        await session.all_covered()
        check_cover(session.messages)
        check_numbers(session.messages, audio)
        log = await case.check_requests(audio, session.messages)
        expect(log.max_concurrent == 1, f"expected one request outstanding at most, got {log.max_concurrent}")
    return f"after {', '.join(f'{latency_ms:.0f}' for latency_ms in latencies_ms)} ms"
