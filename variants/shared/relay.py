"""What stands around a session on an anyio backend: two loops behind it once it has started, which flush when the
schedule says and write what the core says, and what ends with it.

All of it belongs to the event loop of the connection; the session is touched by no other thread.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from gateway import Close, Failure, SendText, Session
from variants.shared.inference import InferenceClient
from variants.shared.reading import Reading, Transport

Start = Callable[[str | bytes], Close | None]
"""Takes a connection's first message."""


def start_relay(
    tasks: TaskGroup, session: Session, client: InferenceClient, send_text: Callable[[str], Awaitable[None]]
) -> None:
    """Start both loops in `tasks`; cancelling the group ends them, and gives up a request in flight."""
    # Unbounded here, because the core bounds it: past `outbox_messages` its ticks give nothing.
    outbox_in, outbox_out = anyio.create_memory_object_stream[SendText](float("inf"))

    async def flush() -> None:
        with outbox_in:
            while True:
                await anyio.sleep(max(0.0, session.next_due_s - time.monotonic()))
                for action in session.tick(time.monotonic()):
                    if isinstance(action, SendText):
                        outbox_in.send_nowait(action)
                        continue
                    outcome = await client.infer(action)
                    now_s = time.monotonic()
                    if isinstance(outcome, Failure):
                        message = session.failed(outcome, now_s)
                    else:
                        message = session.answered(outcome.status, outcome.body, now_s)
                    if message is not None:
                        outbox_in.send_nowait(message)

    async def write() -> None:
        with outbox_out:
            async for message in outbox_out:
                await send_text(message.text)
                session.written()

    tasks.start_soon(flush)
    tasks.start_soon(write)


@asynccontextmanager
async def feeding(
    session: Session,
    client: InferenceClient,
    send_text: Callable[[str], Awaitable[None]],
    reads_at_ticks: Transport | None = None,
) -> AsyncIterator[Start]:
    """Around a host's loop over the messages of one connection, in one task. Gives what takes the first of them and
    starts the relay; every later one goes to `session.frame`. With its end the session is closed, and nothing runs on.

    Args:
        reads_at_ticks: what is to be read around ticks only, once the session has started; None: read as ever.
    """
    reading: Reading | None = None
    async with anyio.create_task_group() as tasks:

        def start(message: str | bytes) -> Close | None:
            nonlocal reading
            close = session.start(message, time.monotonic())
            if close is None:
                start_relay(tasks, session, client, send_text)
                if reads_at_ticks is not None:
                    reading = Reading(reads_at_ticks, session)
            return close

        try:
            yield start
        finally:
            session.close()
            if reading is not None:
                reading.end()
            tasks.cancel_scope.cancel()
