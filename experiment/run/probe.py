"""Asks a local HTTP server: health, and the simulator's figures. No load comes from here."""

import http.client
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import anyio
import anyio.to_thread

from experiment.host import Network


class ProbeError(RuntimeError):
    """No answer in time, or another one than expected; the text says which."""


def _get(host: str, port: int, path: str, network: Network | None) -> bytes:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        with nullcontext() if network is None else network.entered():
            connection.connect()
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ProbeError(f"GET {path} on {host}:{port}: expected 200, got {response.status}")
    return body


async def get(host: str, port: int, path: str, network: Network | None = None) -> bytes:
    """The body behind a path, in a namespace where one is given.

    Raises:
        ProbeError: refused, no answer within 5 s, or another status than 200.
    """
    try:
        return await anyio.to_thread.run_sync(_get, host, port, path, network)
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(f"GET {path} on {host}:{port}: {error or type(error).__name__}") from None


async def get_json(host: str, port: int, path: str, network: Network | None = None) -> dict[str, Any]:
    """The JSON object behind a path.

    Raises:
        ProbeError: as of `get`, and where there is no JSON object.
    """
    body = await get(host, port, path, network)
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ProbeError(f"GET {path} on {host}:{port}: expected a JSON object, got {body[:80]!r}")
    return value


async def wait_healthy(
    host: str,
    port: int,
    limit_s: float,
    give_up: Callable[[], str | None],
    path: str = "/health",
    network: Network | None = None,
) -> None:
    """Wait until `GET <path>` answers with 200. What else health must say is a rule of the contract, for its suite.

    Args:
        limit_s: how long at most.
        give_up: asked between tries; a text says why waiting makes no sense (the process has ended).

    Raises:
        ProbeError: with the last answer, or what `give_up` said.
    """
    end_s = time.monotonic() + limit_s
    while True:
        try:
            await get(host, port, path, network)
            return
        except ProbeError as error:
            last = str(error)
        if (reason := give_up()) is not None:
            raise ProbeError(reason)
        if time.monotonic() > end_s:
            raise ProbeError(f"not healthy within {limit_s:g} s; {last}")
        await anyio.sleep(0.05)
