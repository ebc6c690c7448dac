"""Makes a race in Granian's `receive()` likelier without touching it: a spin between the call and the await.

For the experiment's own rows only; the application is wrapped where the row says so, and untouched everywhere else.
"""

import random
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def delayed(app: ASGIApp, most_us: float) -> ASGIApp:
    """`app`, whose WebSockets spin for U(0, `most_us`) between calling `receive()` and awaiting what it gave."""

    async def amplified(scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_late() -> Message:
            arriving = receive()
            end_s = time.perf_counter() + random.uniform(0.0, most_us) / 1e6
            while time.perf_counter() < end_s:
                pass
            return await arriving

        await app(scope, receive_late if scope["type"] == "websocket" else receive, send)

    return amplified
