"""Inference over HTTP/1.1 that blocks: urllib3's pool, shared by all threads; a connection for each request."""

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from gateway import Failure, Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

_MOST_IDLE = 4096
"""Connections that are kept open for the next request."""


class BlockingClient:
    """`POST /infer`, for any thread."""

    def __init__(self, host: str, port: int) -> None:
        limits = urllib3.Timeout(connect=POOL_LIMIT_S, read=ANSWER_LIMIT_S)
        self._pool = urllib3.HTTPConnectionPool(host, port, timeout=limits, maxsize=_MOST_IDLE, retries=False)

    def infer(self, batch: Infer) -> Answer | Failure:
        """Send one batch within the protocol's time limits; transport trouble comes back as a value."""
        try:
            answer = self._pool.urlopen(
                "POST",
                "/infer",
                body=b"".join(batch.chunks),
                headers={"x-cpu-passes": str(batch.cpu_passes)},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            body = answer.read(ANSWER_LIMIT_BYTES + 1)
            if len(body) > ANSWER_LIMIT_BYTES:
                answer.close()
            else:
                answer.release_conn()
            return Answer(answer.status, body)
        except NewConnectionError as error:  # a ConnectTimeoutError to urllib3 1, and refused all the same
            return connection_reset(f"the connection to the inference server broke: {error}")
        except ConnectTimeoutError:
            return pool_timeout()
        except ReadTimeoutError:
            return inference_timeout()
        except (HTTPError, OSError) as error:
            return connection_reset(f"the connection to the inference server broke: {error!r}")
