"""What a gateway's rhythm costs: reactions to a ping, a close, a violation, to many connections at once, and the
memory that sessions take.

Sessions of its own, few, which stream like any client's; the gateway has cores of its own. Figures, and no verdict.
"""

import asyncio
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import anyio.to_thread
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from experiment.ask import Address, Ask, load_config, resolve_one
from experiment.bench.feeder import UPGRADE
from experiment.host import Role, Run, Sampler
from experiment.run import Stand, on_harness_cpus, prepare
from loadgen.percentiles import nearest_rank
from simulator.port import free_port

SESSIONS = 240
STREAM_S = 5.0
ACT_WITHIN_S = 1.0
FRAME_S = 0.02
ACTS = ("ping", "close", "violation")
OFFERED = 2000
"""Connections, evenly over a second."""
_GETS_IN_S = 5.0
_START = '{"type":"start"}'
_FRAME = bytes(640)
_LOOKS = 8
"""At kernel memory, within the last two seconds of streaming."""
_SOCKET_MEMORY = re.compile(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f\d+,w(\d+)")


async def measure_reactions(variant: str, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """One row: `{sessions, <act>_ms: {p50, p95, max, count}, handshake_ms: {…}, rss_bytes, kernel_bytes: {mean, max} or
    None}`, the bytes per session. The count of handshakes is of those that got in, of OFFERED.

    Raises:
        ProbeError: simulator or gateway did not get healthy.
    """
    plan = resolve_one(load_config(), Ask("reactions", (variant,)))
    assert plan.variant is not None
    launch, _ = await anyio.to_thread.run_sync(prepare, plan, report)
    logs = folder / "reactions" / variant
    logs.mkdir(parents=True)
    async with Run(folder) as run:
        with on_harness_cpus(plan):
            async with Stand(run, plan, launch, logs) as stand:
                infer_port = free_port()
                await stand.simulator(infer_port)
                role, address = await stand.gateway(infer_port)
                found = await _probe(role, address, logs)
                return {**found, "handshake_ms": _spread(await _offer(address))}


async def _probe(role: Role, address: Address, logs: Path) -> dict[str, Any]:
    sampler = Sampler([role.group], logs / "resources.csv")
    before = sampler.snapshot("gateway").rss_bytes or 0
    waited_ms: dict[str, list[float]] = {act: [] for act in ACTS}
    kernel: list[list[int]] = []
    after = 0
    async with anyio.create_task_group() as sessions:
        for index in range(SESSIONS):
            sessions.start_soon(_session, address, index, waited_ms)
        await anyio.sleep(STREAM_S - 1.5)
        for _ in range(_LOOKS):
            kernel.append(await anyio.to_thread.run_sync(socket_bytes, address.port))
            await anyio.sleep(2.0 / _LOOKS)
        after = sampler.snapshot("gateway").rss_bytes or 0
    found: dict[str, Any] = {"sessions": SESSIONS, "rss_bytes": (after - before) / SESSIONS, "kernel_bytes": None}
    if seen := [each for look in kernel for each in look]:
        found["kernel_bytes"] = {"mean": sum(seen) / len(seen), "max": max(seen)}
    return {**found, **{f"{act}_ms": _spread(values) for act, values in waited_ms.items()}}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"p50": median(values), "p95": nearest_rank(values, 95), "max": max(values), "count": len(values)}


async def _offer(address: Address) -> list[float]:
    """Milliseconds from the first SYN to the whole answer of the upgrade, of those that got in in time."""
    took_ms: list[float] = []
    writers: list[asyncio.StreamWriter] = []

    async def offer(index: int) -> None:
        await anyio.sleep(index / OFFERED)
        begin_s = time.monotonic()
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_GETS_IN_S):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writers.append(writer)
                writer.write(UPGRADE)
                if (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 "):
                    took_ms.append((time.monotonic() - begin_s) * 1000)

    async with anyio.create_task_group() as tasks:
        for index in range(OFFERED):
            tasks.start_soon(offer, index)
    for writer in writers:  # all were open at once
        writer.close()
    if len(took_ms) < 2:
        raise RuntimeError(f"expected {OFFERED} connections to get in, {len(took_ms)} did")
    return took_ms


async def _session(address: Address, index: int, waited_ms: dict[str, list[float]]) -> None:
    await anyio.sleep(index / SESSIONS)
    act = ACTS[index % len(ACTS)]
    async with connect(address.websocket_url, compression=None, ping_interval=None, proxy=None) as client:
        await client.send(_START)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stream, client)
            tasks.start_soon(_read, client)
            await anyio.sleep(STREAM_S + random.uniform(0, ACT_WITHIN_S))
            begin_s = time.monotonic()
            if act == "ping":
                await (await client.ping())
            elif act == "close":
                await client.close()
            else:
                await client.send("no audio")
                await client.wait_closed()
            waited_ms[act].append((time.monotonic() - begin_s) * 1000)
            tasks.cancel_scope.cancel()


async def _stream(client: ClientConnection) -> None:
    begin_s, frame = time.monotonic(), 0
    with suppress(ConnectionClosed):
        while True:
            await client.send(_FRAME)
            frame += 1
            await anyio.sleep(max(0.0, begin_s + frame * FRAME_S - time.monotonic()))


async def _read(client: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await client.recv()


def socket_bytes(port: int) -> list[int]:
    """Kernel memory of each established connection to a local port: what its two queues hold, as the kernel charges it.

    Empty where `ss` (iproute2) is not there or does not tell.
    """
    if shutil.which("ss") is None:
        return []
    command = ["ss", "-Htmn", "state", "established", "sport", "=", f":{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(received) + int(queued) for received, queued in _SOCKET_MEMORY.findall(done.stdout)]
