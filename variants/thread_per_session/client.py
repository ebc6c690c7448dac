"""Inference over HTTP/1.1 that blocks: urllib3's connections, pooled for all threads, one for each request."""

import select
from collections import deque
from http.client import HTTPException
from time import monotonic

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from gateway import Failure, Infer, connection_reset, inference_timeout, pool_timeout
from gateway.failures import ANSWER_LIMIT_S, POOL_LIMIT_S
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

_BROKEN = (HTTPError, HTTPException, OSError)


class Request:
    """One batch that was sent: wait until its descriptor is readable or its time is over, then `finish` it."""

    def __init__(self, client: "BlockingClient", connection: HTTPConnection) -> None:
        self._client, self._connection = client, connection
        self.until_s = monotonic() + ANSWER_LIMIT_S

    def fileno(self) -> int:
        return int(self._connection.sock.fileno())

    def finish(self) -> Answer | Failure:
        """The answer; it blocks until it is whole."""
        connection = self._connection
        left_s = self.until_s - monotonic()
        if left_s <= 0:
            connection.close()
            return inference_timeout()
        try:
            connection.timeout = left_s  # of each read from here on
            answer = connection.getresponse()
            body = b""
            while len(body) <= ANSWER_LIMIT_BYTES and (more := answer.read(ANSWER_LIMIT_BYTES + 1)):
                body += more
        except (TimeoutError, ReadTimeoutError):
            connection.close()
            return inference_timeout()
        except _BROKEN as error:
            connection.close()
            return connection_reset(f"the connection to the inference server broke: {error!r}")
        if len(body) > ANSWER_LIMIT_BYTES:
            connection.close()
        else:
            self._client.give_back(connection)
        return Answer(answer.status, body)

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self._connection.close()


class BlockingClient:
    """`POST /infer`, for any thread."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: deque[HTTPConnection] = deque()
        """The one that was used last at the right. A deque's two ends are safe for threads."""

    def send(self, batch: Infer) -> Request | Failure:
        """Send one batch within the time limit for a connection; transport trouble comes back as a value."""
        body, headers = b"".join(batch.chunks), {"x-cpu-passes": str(batch.cpu_passes)}
        connection = self._connection()
        try:
            connection.request("POST", "/infer", body=body, headers=headers, preload_content=False)
        except NewConnectionError as error:  # a ConnectTimeoutError to urllib3 1, and refused all the same
            return connection_reset(f"the connection to the inference server broke: {error}")
        except ConnectTimeoutError:
            return pool_timeout()
        except _BROKEN as error:
            connection.close()
            return connection_reset(f"the connection to the inference server broke: {error!r}")
        return Request(self, connection)

    def _connection(self) -> HTTPConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()  # the server has ended it, or said more than it should
        return HTTPConnection(self._host, self._port, timeout=POOL_LIMIT_S)

    def give_back(self, connection: HTTPConnection) -> None:
        """It is free for the next request, unless the server has ended it."""
        if connection.sock is not None:
            self._idle.append(connection)
