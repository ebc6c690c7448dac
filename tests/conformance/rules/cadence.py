"""Rules of the flush schedule: when batches leave, and that one is in flight at most."""

from itertools import pairwise

import anyio

from tests.conformance.case import TOLERANCE_MS, Case
from tests.conformance.expect import expect
from tests.conformance.inference import RequestLog
from tests.conformance.rule import rule
from tests.conformance.session import check_cover

INTERVAL_MS = 1000.0
PHASES = 20
SPREAD_LEAST_MS = 250.0
"""Twenty draws from [0, 1000) all lie within 250 ms once in ten billion runs."""


def _intervals_ms(log: RequestLog) -> list[float]:
    arrivals = [request.arrived_ms for request in log.requests]
    return [later - earlier for earlier, later in pairwise(arrivals)]


def _check_grid(log: RequestLog, steps: list[int]) -> str:
    """Failed unless request n arrived `steps[n]` intervals after the first: errors must not add up."""
    arrivals = [request.arrived_ms for request in log.requests]
    expect(len(arrivals) >= len(steps), f"expected at least {len(steps)} requests, got {len(arrivals)}")
    for n, step in enumerate(steps):
        late_ms = arrivals[n] - arrivals[0] - step * INTERVAL_MS
        expect(
            abs(late_ms) <= TOLERANCE_MS,
            f"expected request {n + 1} {step * INTERVAL_MS:g} ± {TOLERANCE_MS:g} ms after the first, got "
            f"{arrivals[n] - arrivals[0]:.0f} ms (intervals: {', '.join(f'{i:.0f}' for i in _intervals_ms(log))} ms)",
        )
    return f"intervals {', '.join(f'{i:.0f}' for i in _intervals_ms(log))} ms"


@rule("cadence", "a batch leaves every 1000 ms while frames stream", inference=True, timing=True)
async def cadence(case: Case) -> str:
    async with case.session() as session:
        async with session.streaming():
            await session.partials(4)
        log = await case.requests(session.audio)
    return _check_grid(log, [0, 1, 2, 3])


@rule("cadence-no-drift", "slow answers do not move the schedule", inference=True, timing=True)
async def no_drift(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=600)
    async with case.session(audio) as session:
        async with session.streaming(0.1):
            await session.partials(3)
        log = await case.requests(audio)
    return _check_grid(log, [0, 1, 2])


@rule("phases", "the first tick comes 1000 ms plus a drawn phase after the start", inference=True, timing=True)
async def phases(case: Case) -> str:
    found_ms: list[float] = []

    async def measure() -> None:
        async with case.session() as session:
            await session.send_frames(1)
            await session.partial()
            log = await case.requests(session.audio)
            expect(log.requests, "expected an inference request, got none")
            found_ms.append(log.requests[0].arrived_ms - session.started_s * 1000 - INTERVAL_MS)

    async with anyio.create_task_group() as tasks:
        for _ in range(PHASES):
            tasks.start_soon(measure)
    least, most = min(found_ms), max(found_ms)
    facts = f"phases {least:.0f} … {most:.0f} ms of {len(found_ms)} connections"
    expect(
        least >= -1 and most < INTERVAL_MS + TOLERANCE_MS,
        f"expected first requests 1000 ms plus a phase in [0, 1000) after the start, got {facts}",
    )
    expect(most - least >= SPREAD_LEAST_MS, f"expected one phase drawn for each connection, got {facts}")
    return facts


@rule("idle-tick", "ticks with nothing buffered send nothing", inference=True)
async def idle_tick(case: Case) -> None:
    async with case.session() as session:
        await anyio.sleep(3.1)
        messages = session.wire.messages
        expect(not messages, f"expected no message without audio, got {messages[:1]}")
        empty = await case.inference.log("")
        expect(not empty.requests, f"expected no inference request without audio, got {len(empty.requests)} empty ones")
        await session.send_frames(2)
        message = await session.partial(within_s=2.5)
        expect((message.oldest, message.newest) == (1, 2), f"expected a partial of frames 1 … 2, got {message}")


@rule("one-in-flight", "a tick during a request sends nothing; its frames go with the next", inference=True)
async def one_in_flight(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)
    async with case.session(audio) as session:
        async with session.streaming(0.1):
            first, second = await session.partials(2)
        log = await case.requests(audio)
    expect(log.max_concurrent == 1, f"expected one request outstanding at most, got {log.max_concurrent}")
    check_cover([first, second])
    # The second batch waited through a skipped tick: two seconds of audio, less what the first tick's lateness took.
    expect(second.frames >= 80, f"expected the skipped tick's frames with the next one's (about 100), got {second}")
    return f"batches of {first.frames} and {second.frames} frames"


@rule(
    "skipped-tick", "the tick after a skipped one keeps the schedule: nothing is made up", inference=True, timing=True
)
async def skipped_tick(case: Case) -> str:
    audio = case.audio()
    await case.inference.behave(audio, delay_ms=1500)
    async with case.session(audio) as session:
        async with session.streaming(0.1):
            await session.partials(2)
        log = await case.requests(audio)
    return _check_grid(log, [0, 2])
