"""Both inference transports against scripted servers, their loop pumped by the test and its clock passed in."""

import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

from gateway import Failure, Infer
from tests.variants.shared.h2_server import H2Server, Request, h2_server
from variants.drain.h1 import RESERVE, H1Pool
from variants.drain.h2c import H2Pool
from variants.drain.stream import Poller
from variants.shared.inference import Answer

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Asker:
    """Who asks: keeps what came of it."""

    def __init__(self) -> None:
        self.outcomes: list[Answer | Failure] = []

    def on_outcome(self, outcome: Answer | Failure, now_s: float) -> None:
        self.outcomes.append(outcome)

    @property
    def kinds(self) -> list[str | int]:
        return [outcome.kind if isinstance(outcome, Failure) else outcome.status for outcome in self.outcomes]


def batch(pieces: int = 1, frames: int = 50) -> Infer:
    return Infer([bytes([piece % 256]) * (640 * frames) for piece in range(pieces)], 640 * frames * pieces, 4)


def pump(poller: Poller, now_s: float = 100.0, timeout_s: float = 0.0) -> None:
    """One round of a loop."""
    for handler, mask in poller.wait(timeout_s):
        handler.on_event(mask, now_s)


class H1Server:
    """Accepts without a thread; each test reads and answers by hand."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self.listener.getsockname()
        self.poller = Poller()
        self.pool = H1Pool(self.poller, [(socket.AF_INET, self.address)], "inference:1", 100.0)
        self.asker = Asker()
        self.taken: list[socket.socket] = []

    def accept_all(self) -> None:
        """Take the connections that are made in advance."""
        self.listener.settimeout(2)
        self.taken += [self.listener.accept()[0] for _ in range(RESERVE)]
        pump(self.poller)

    def read(self) -> tuple[socket.socket, bytes, bytes]:
        """The one connection that a request comes on, its head and its body."""
        self.listener.setblocking(False)
        for _ in range(50):
            with suppress(BlockingIOError):
                self.taken.append(self.listener.accept()[0])
            for sock in self.taken:
                sock.setblocking(False)
                try:
                    data = sock.recv(65536)
                except BlockingIOError:
                    continue
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while len(body) < length:
                    pump(self.poller)
                    try:
                        body += sock.recv(1 << 20)
                    except BlockingIOError:
                        continue
                return sock, head, body
            pump(self.poller, timeout_s=0.01)
        raise AssertionError("expected a request, none came")

    def settle(self, count: int) -> None:
        """Pump until so many outcomes are there."""
        for _ in range(100):
            if len(self.asker.outcomes) >= count:
                return
            pump(self.poller, timeout_s=0.01)
        raise AssertionError(f"expected {count} outcomes, got {self.asker.outcomes}")


@contextmanager
def h1_server() -> Iterator[H1Server]:
    server = H1Server()
    try:
        yield server
    finally:
        server.poller.end()
        for sock in (server.listener, *server.taken):
            sock.close()


def test_h1_connections_are_there_before_they_are_needed_and_are_used_again() -> None:
    with h1_server() as server:
        server.accept_all()
        used = set()
        for number in range(1, 4):
            server.pool.post(batch(), server.asker, 100.0)
            sock, head, body = server.read()
            used.add(sock)
            assert head.split(b"\r\n")[0] == b"POST /infer HTTP/1.1"
            assert b"x-cpu-passes: 4" in head.split(b"\r\n")
            assert body == bytes(32000)
            sock.sendall(OK)
            server.settle(number)
        assert server.asker.outcomes == [Answer(200, b"ok")] * 3
        assert len(used) == 1


def test_h1_a_batch_of_a_thousand_pieces_and_more_than_the_socket_takes_at_once_arrives_whole() -> None:
    with h1_server() as server:
        server.accept_all()
        big = batch(pieces=1500, frames=1)
        server.pool.post(big, server.asker, 100.0)
        sock, _, body = server.read()
        assert body == b"".join(big.chunks)
        sock.sendall(OK)
        server.settle(1)
        assert server.asker.kinds == [200]


def test_h1_a_late_answer_is_a_timeout_and_does_not_meet_the_next_request() -> None:
    with h1_server() as server:
        server.accept_all()
        server.pool.post(batch(), server.asker, 100.0)
        sock, _, _ = server.read()
        pump(server.poller)  # the connection that was made to keep the reserve
        assert server.pool.next_deadline_s() == pytest.approx(102.0)
        server.pool.expire(101.9)
        assert server.asker.kinds == []
        server.pool.expire(102.0)
        assert server.asker.kinds == ["timeout"]
        server.pool.post(batch(), server.asker, 102.1)
        other, _, _ = server.read()
        assert other is not sock
        other.sendall(OK)
        server.settle(2)
        assert server.asker.kinds == ["timeout", 200]


@pytest.mark.parametrize("how", ["fin", "rst", "garbage", "half"])
def test_h1_a_connection_that_ends_before_its_answer_is_a_reset(how: str) -> None:
    with h1_server() as server:
        server.accept_all()
        server.pool.post(batch(), server.asker, 100.0)
        sock, _, _ = server.read()
        if how == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how in ("garbage", "half"):
            sock.sendall(OK[:20] if how == "half" else b"\r\n\r\n\0")
        sock.close()
        server.settle(1)
        assert server.asker.kinds == ["connection_reset"]


def test_h1_an_idle_connection_that_the_server_closes_is_not_used() -> None:
    with h1_server() as server:
        server.accept_all()
        while server.taken:
            server.taken.pop().close()
        for _ in range(10):
            pump(server.poller, timeout_s=0.01)
        server.pool.post(batch(), server.asker, 100.0)
        sock, _, _ = server.read()
        sock.sendall(OK)
        server.settle(1)
        assert server.asker.kinds == [200]


def pools(poller: Poller, *addresses: Any, family: int = socket.AF_INET) -> list[H1Pool | H2Pool]:
    """`family` is the first address's."""
    found = [(socket.AF_INET if index else family, address) for index, address in enumerate(addresses)]
    return [
        H1Pool(poller, found, "inference:1", 100.0),
        H2Pool(poller, found, "inference:1", 100.0, connections=2),
    ]


@pytest.mark.parametrize("family", [socket.AF_INET, 9999])
def test_where_the_first_address_refuses_or_is_of_no_known_family_the_next_is_taken(family: int) -> None:
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        closed.bind(("127.0.0.1", 0))
        poller = Poller()
        found = pools(poller, closed.getsockname(), listener.getsockname(), family=family)
        assert len(found) == 2
        listener.setblocking(False)
        taken: list[socket.socket] = []
        for _ in range(500):
            pump(poller, timeout_s=0.01)
            with suppress(BlockingIOError):
                taken.append(listener.accept()[0])
            if len(taken) == RESERVE + 2:
                break
        assert len(taken) == RESERVE + 2
        for sock in taken:
            sock.close()
        poller.end()


@pytest.mark.parametrize("which", [0, 1])
def test_a_refused_connection_is_a_reset_at_once_also_again(which: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        poller, asker = Poller(), Asker()
        pool = pools(poller, closed.getsockname())[which]
        for count in (1, 2, 3):
            pool.post(batch(), asker, 100.0 + count)
            for _ in range(20):
                pump(poller, timeout_s=0.01)
            assert asker.kinds == ["connection_reset"] * count
        poller.end()


@pytest.mark.parametrize("which", [0, 1])
def test_a_server_that_takes_no_connection_is_a_pool_timeout(which: int) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            poller, asker = Poller(), Asker()
            pool = pools(poller, full.getsockname())[which]
            for number in range(20):
                pool.post(batch(), asker, 100.0 + number / 100)
                pump(poller)
            before = asker.kinds
            pool.expire(102.5)
            waited = asker.kinds[len(before) :]
            assert set(waited) <= {"pool_timeout", "timeout"}
            assert "pool_timeout" in waited
            assert len(asker.kinds) == 20
            poller.end()


async def settle(poller: Poller, asker: Asker, count: int) -> None:
    with anyio.fail_after(3):
        while len(asker.outcomes) < count:
            pump(poller)
            await anyio.sleep(0.001)


async def echo(request: Request) -> None:
    await request.whole.wait()
    await request.answer(200, b"%d %d" % (len(request.body), request.body[-1]))


async def ask_h2(
    behaviour: Callable[[Request], Awaitable[None]], batches: list[Infer], check: Callable[..., Awaitable[None]]
) -> None:
    async with h2_server(behaviour) as server:
        poller, asker = Poller(), Asker()
        pool = H2Pool(poller, [(socket.AF_INET, ("127.0.0.1", server.port))], "inference:1", 100.0, connections=2)
        for one in batches:
            pool.post(one, asker, 100.0)
        await check(server, pool, poller, asker)
        poller.end()
        assert server.failures == []


async def test_h2_many_batches_past_the_windows_come_back_whole() -> None:
    async def check(server: H2Server, pool: H2Pool, poller: Poller, asker: Asker) -> None:
        await settle(poller, asker, 12)
        assert asker.outcomes == [Answer(200, b"320000 9")] * 12
        assert len(server.connections) == 2

    await ask_h2(echo, [batch(pieces=10)] * 12, check)


async def test_h2_a_late_answer_is_a_timeout_and_its_stream_is_cancelled() -> None:
    async def hang(request: Request) -> None:
        await request.reset.wait()

    async def check(server: H2Server, pool: H2Pool, poller: Poller, asker: Asker) -> None:
        with anyio.fail_after(3):
            while not server.requests:
                pump(poller)
                await anyio.sleep(0.001)
            pool.expire(102.5)
            assert asker.kinds == ["timeout"]
            await server.requests[0].reset.wait()

    await ask_h2(hang, [batch()], check)


async def test_h2_a_graceful_goaway_loses_no_answer_and_the_next_request_takes_a_new_connection() -> None:
    async def leave(request: Request) -> None:
        await request.whole.wait()
        await request.connection.go_away_gracefully(2**31 - 1)  # as servers begin to: no new ones, all others go on
        await anyio.sleep(0.05)
        await request.answer(200, b"after all")

    async def check(server: H2Server, pool: H2Pool, poller: Poller, asker: Asker) -> None:
        await settle(poller, asker, 2)
        assert asker.outcomes == [Answer(200, b"after all")] * 2
        server.behaviour = echo
        pool.post(batch(), asker, 100.5)
        await settle(poller, asker, 3)
        assert asker.kinds[2] == 200
        assert len(server.connections) > 2

    await ask_h2(leave, [batch(), batch()], check)


@pytest.mark.parametrize("reset", [True, False])
async def test_h2_a_lost_connection_is_a_reset_for_all_on_it_and_is_made_again(reset: bool) -> None:
    async def drop(request: Request) -> None:
        await request.whole.wait()
        await request.connection.drop(reset=reset)

    async def check(server: H2Server, pool: H2Pool, poller: Poller, asker: Asker) -> None:
        await settle(poller, asker, 2)
        assert asker.kinds == ["connection_reset"] * 2
        server.behaviour = echo
        pool.post(batch(), asker, 100.5)
        await settle(poller, asker, 3)
        assert asker.kinds[2] == 200

    await ask_h2(drop, [batch(), batch()], check)
