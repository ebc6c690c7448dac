"""The two loops behind a started session on an anyio backend: flush when the schedule says, write what the core says.

Both belong to the event loop of the connection; the session is touched by no other thread.
"""

import time
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from gateway import Failure, SendText, Session
from variants.shared.inference import InferenceClient


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
