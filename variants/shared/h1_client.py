"""Inference over pooled HTTP/1.1: aiohttp, one connection for each request in flight, kept open for the next.

Everything here belongs to the event loop that opened it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from gateway import Failure, Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

# aiohttp does not say when a connection was had, so the answer's limit runs from the last byte that came; only a
# server that sends its answer in drips could stretch it, up to the total.
_LIMITS = aiohttp.ClientTimeout(
    total=POOL_LIMIT_S + ANSWER_LIMIT_S, connect=POOL_LIMIT_S, sock_connect=POOL_LIMIT_S, sock_read=ANSWER_LIMIT_S
)


class H1Client:
    """A pool of connections to one inference server. Made by `open_h1_client`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def infer(self, batch: Infer) -> Answer | Failure:
        """Send one batch within the protocol's time limits; transport trouble comes back as a value."""
        try:
            async with self._session.post(
                self._url,
                data=b"".join(batch.chunks),
                headers={"x-cpu-passes": str(batch.cpu_passes)},
                allow_redirects=False,
            ) as answer:
                body = bytearray()
                async for part in answer.content.iter_any():
                    body += part
                    if len(body) > ANSWER_LIMIT_BYTES:
                        break  # leaving an answer unread closes its connection
                return Answer(answer.status, bytes(body))
        except aiohttp.ConnectionTimeoutError:
            return pool_timeout()
        except TimeoutError:
            return inference_timeout()
        except (OSError, aiohttp.ClientError) as error:
            return connection_reset(f"the connection to the inference server broke: {error!r}")


@asynccontextmanager
async def open_h1_client(host: str, port: int) -> AsyncIterator[H1Client]:
    """An `H1Client` whose connections end with the context."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=_LIMITS, auto_decompress=False) as session:
        yield H1Client(f"http://{host}:{port}/infer", session)
