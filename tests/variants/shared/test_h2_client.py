"""The h2 client against a real h2c server: flow control, limits of streams and of time, and every way to lose one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import anyio
import pytest
from anyio.abc import SocketAttribute
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from gateway import Failure, Infer
from tests.variants.shared.h2_server import Behaviour, H2Server, Request, h2_server
from variants.shared.h2_client import H2Client, open_h2_client
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


ONE_STREAM: dict[SettingCodes | int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}


def batch(frames: int = 1, fill: int = 1, pieces: int = 1) -> Infer:
    """Audio in a few pieces."""
    return Infer([bytes([fill]) * (640 * frames)] * pieces, 640 * frames * pieces, 4)


async def echo(request: Request) -> None:
    """Answer with the length and the first byte of the body."""
    await request.whole.wait()
    await request.answer(200, b"%d %d" % (len(request.body), request.body[0]))


async def hang(request: Request) -> None:
    """Never answer."""
    await anyio.sleep_forever()


@asynccontextmanager
async def client_of(server: H2Server, connections: int = 1) -> AsyncIterator[H2Client]:
    async with open_h2_client("127.0.0.1", server.port, connections) as client:
        with anyio.fail_after(2):
            await server.settled(connections)
        yield client
    assert server.failures == []


def kind(outcome: Answer | Failure) -> str | int:
    """The failure's kind, or the answer's status."""
    return outcome.kind if isinstance(outcome, Failure) else outcome.status


async def test_a_request_is_what_the_protocol_says() -> None:
    async with h2_server(echo) as server, client_of(server) as client:
        outcome = await client.infer(batch(frames=50, fill=7, pieces=2))
        assert outcome == Answer(200, b"64000 7")
        (request,) = server.requests
        assert request.headers == {
            b":method": b"POST",
            b":scheme": b"http",
            b":authority": b"127.0.0.1:%d" % server.port,
            b":path": b"/infer",
            b"content-length": b"64000",
            b"x-cpu-passes": b"4",
        }
        assert bytes(request.body) == b"\7" * 64000


async def test_many_at_once_share_few_connections_and_get_their_own_answers() -> None:
    outcomes: dict[int, Answer | Failure] = {}
    async with h2_server(echo) as server, client_of(server, connections=3) as client:

        async def ask(n: int) -> None:
            outcomes[n] = await client.infer(batch(frames=n % 50 + 1, fill=n % 256))

        async with anyio.create_task_group() as tasks:
            for n in range(300):
                tasks.start_soon(ask, n)
        assert len(server.connections) == 3
        assert {len(server.requests), len(outcomes)} == {300}
    for n, outcome in outcomes.items():
        assert outcome == Answer(200, b"%d %d" % ((n % 50 + 1) * 640, n % 256))


async def test_all_statuses_come_through() -> None:
    statuses = iter((200, 204, 400, 404, 429, 500, 503))

    async def refuse(request: Request) -> None:
        await request.whole.wait()
        await request.answer(next(statuses), b"why")

    async with h2_server(refuse) as server, client_of(server) as client:
        outcomes = [await client.infer(batch()) for _ in range(7)]
        assert outcomes == [Answer(status, b"why") for status in (200, 204, 400, 404, 429, 500, 503)]


def answering(length: int) -> Behaviour:
    """Answer with so many bytes, as fast as the client's windows let them go, or until it gives up."""

    async def long_answer(request: Request) -> None:
        await request.whole.wait()
        h2, connection, left = request.connection.h2, request.connection, length
        h2.send_headers(request.stream_id, [(":status", "200")])
        while left and not request.reset.is_set():
            room = min(left, h2.local_flow_control_window(request.stream_id), h2.max_outbound_frame_size)
            if not room:
                await anyio.sleep(0.001)
                continue
            left -= room
            h2.send_data(request.stream_id, b"x" * room, end_stream=not left)
            await connection.flush()

    return long_answer


async def test_answers_that_take_more_than_the_window_are_whole() -> None:
    async with h2_server(answering(60_000)) as server, client_of(server) as client:
        for _ in range(5):
            assert await client.infer(batch()) == Answer(200, b"x" * 60_000)


async def test_no_more_of_an_answer_is_read_than_the_limit_and_the_connection_goes_on() -> None:
    async with h2_server(answering(8_000_000)) as server, client_of(server) as client:
        outcome = await client.infer(batch())
        assert isinstance(outcome, Answer)
        assert ANSWER_LIMIT_BYTES < len(outcome.body) < 3 * ANSWER_LIMIT_BYTES
        await server.requests[0].reset.wait()
        server.behaviour = answering(60_000)
        assert await client.infer(batch()) == Answer(200, b"x" * 60_000)
        assert len(server.connections) == 1


# --- flow control ---


async def test_a_body_larger_than_both_windows_goes_out_as_room_comes() -> None:
    """1000 bytes a stream, and 65 535 a connection: 64 000 bytes four times over, given back in small steps."""

    async def slowly(request: Request) -> None:
        while not request.whole.is_set():
            await anyio.sleep(0.0005)
            await request.acknowledge()
        await echo(request)

    windows: dict[SettingCodes | int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    async with h2_server(slowly, settings=windows, acknowledges=False) as server, client_of(server) as client:
        outcomes: list[Answer | Failure] = []

        async def ask(n: int) -> None:
            outcomes.append(await client.infer(batch(frames=50, fill=n)))

        async with anyio.create_task_group() as tasks:
            for n in range(4):
                tasks.start_soon(ask, n)
        assert sorted(map(str, outcomes)) == sorted(str(Answer(200, b"32000 %d" % n)) for n in range(4))


async def test_a_window_that_never_opens_is_a_timeout() -> None:
    windows: dict[SettingCodes | int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    async with h2_server(hang, settings=windows, acknowledges=False) as server, client_of(server) as client:
        begun_s = time.monotonic()
        assert kind(await client.infer(batch(frames=50))) == "timeout"
        assert 1.9 < time.monotonic() - begun_s < 2.5
        (request,) = server.requests
        with anyio.fail_after(1):
            await request.reset.wait()
        assert len(request.body) == 1000


async def test_a_stream_that_opens_without_any_window() -> None:
    """The server gives room only once it has seen the headers, so those must not wait for it."""

    async def open_up(request: Request) -> None:
        await request.make_room(640)
        await echo(request)

    windows: dict[SettingCodes | int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with h2_server(open_up, settings=windows) as server, client_of(server) as client:
        assert await client.infer(batch()) == Answer(200, b"640 1")


# --- the limit of streams ---


async def test_requests_past_the_limit_of_streams_wait_for_their_turn() -> None:
    outcomes: list[Answer | Failure] = []
    async with h2_server(echo, settings=ONE_STREAM) as server, client_of(server) as client:

        async def ask() -> None:
            outcomes.append(await client.infer(batch()))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(ask)
        assert len(server.connections) == 1
        assert [kind(outcome) for outcome in outcomes] == [200] * 50


async def test_no_stream_within_a_second_is_a_pool_timeout() -> None:
    async with (
        h2_server(hang, settings=ONE_STREAM) as server,
        client_of(server) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.infer, batch())
        await server.arrived(1)
        begun_s = time.monotonic()
        outcome = await client.infer(batch())
        assert kind(outcome) == "pool_timeout"
        assert isinstance(outcome, Failure)
        assert (outcome.stage, outcome.retryable, outcome.status) == ("inference_request", True, None)
        assert 0.9 < time.monotonic() - begun_s < 1.5
        assert len(server.requests) == 1
        tasks.cancel_scope.cancel()


async def test_an_answer_before_the_end_of_the_body_frees_its_stream() -> None:
    """A 429 straight after the headers: whoever sends no more body must end the stream some other way."""
    limits: dict[SettingCodes | int, int] = {
        SettingCodes.MAX_CONCURRENT_STREAMS: 1,
        SettingCodes.INITIAL_WINDOW_SIZE: 100,
    }
    behaviours = iter([Request.answer] * 3)

    async def at_once(request: Request) -> None:
        await next(behaviours)(request, 429)

    async with h2_server(at_once, settings=limits, acknowledges=False) as server, client_of(server) as client:
        assert [kind(await client.infer(batch())) for _ in range(3)] == [429, 429, 429]


# --- time-outs and cancellation ---


async def test_no_answer_within_two_seconds_is_a_timeout_and_the_stream_is_cancelled() -> None:
    behaviours = iter([hang, echo])
    async with h2_server(lambda r: next(behaviours)(r)) as server, client_of(server) as client:
        begun_s = time.monotonic()
        outcome = await client.infer(batch())
        assert kind(outcome) == "timeout"
        assert 1.9 < time.monotonic() - begun_s < 2.5
        with anyio.fail_after(1):
            await server.requests[0].reset.wait()
        assert server.requests[0].reset_code == ErrorCodes.CANCEL
        assert kind(await client.infer(batch())) == 200
        assert len(server.connections) == 1


async def test_a_request_that_is_given_up_leaves_the_connection_usable() -> None:
    arrived = anyio.Event()

    async def hold(request: Request) -> None:
        arrived.set()
        await hang(request)

    behaviours = iter([hold, echo])
    async with h2_server(lambda r: next(behaviours)(r)) as server, client_of(server) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.infer, batch(frames=50))
            await arrived.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(1):
            await server.requests[0].reset.wait()
        assert server.requests[0].reset_code == ErrorCodes.CANCEL
        assert await client.infer(batch(fill=9)) == Answer(200, b"640 9")
        assert len(server.connections) == 1


async def test_a_request_that_is_given_up_while_it_waits_for_its_turn_takes_none() -> None:
    behaviours = iter([hang, echo])
    async with (
        h2_server(lambda r: next(behaviours)(r), settings=ONE_STREAM) as server,
        client_of(server) as client,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.infer, batch())
            tasks.start_soon(client.infer, batch())
            await server.arrived(1)
            tasks.cancel_scope.cancel()
        assert kind(await client.infer(batch())) == 200
        assert len(server.requests) == 2


# --- losing it ---


async def test_nobody_listens_is_a_reset_and_mends_itself() -> None:
    async with h2_server(echo) as server:
        port = server.port
    async with open_h2_client("127.0.0.1", port, 2) as client:
        outcome = await client.infer(batch())
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.stage, outcome.retryable) == ("connection_reset", "inference_request", True)
        async with h2_server(echo, port=port):
            assert kind(await client.infer(batch())) == 200


async def two_outcomes(client: H2Client, server: H2Server, *, after_s: float = 0.0) -> list[Answer | Failure]:
    """Of a request, and of a second one that begins once the first has arrived."""
    outcomes: list[Answer | Failure] = []

    async def ask() -> None:
        outcomes.append(await client.infer(batch()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await server.arrived(1)
        await anyio.sleep(after_s)
        tasks.start_soon(ask)
    return outcomes


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_connection_that_ends_in_the_middle_is_made_again(reset: bool) -> None:
    async def drop(request: Request) -> None:
        await request.connection.drop(reset=reset)

    behaviours = iter([hang, drop, echo])
    async with h2_server(lambda r: next(behaviours)(r)) as server, client_of(server) as client:
        begun_s = time.monotonic()
        outcomes = await two_outcomes(client, server)
        assert time.monotonic() - begun_s < 1, "told at once, not at the time-out"
        assert [kind(outcome) for outcome in outcomes] == ["connection_reset"] * 2
        assert await client.infer(batch(fill=5)) == Answer(200, b"640 5")
        assert len(server.connections) == 2


async def test_garbage_instead_of_http2_is_a_reset() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def http1(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, http1)
        async with open_h2_client("127.0.0.1", listener.extra(SocketAttribute.local_port), 1) as client:
            assert kind(await client.infer(batch())) == "connection_reset"
            assert kind(await client.infer(batch())) == "connection_reset"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("code", [ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR, ErrorCodes.NO_ERROR])
async def test_a_reset_stream_leaves_the_connection_usable(code: ErrorCodes) -> None:
    numbers = count()

    async def refuse(request: Request) -> None:
        await (echo(request) if next(numbers) else request.refuse(code))

    async with h2_server(refuse) as server, client_of(server) as client:
        assert kind(await client.infer(batch(frames=50))) == "connection_reset"
        assert kind(await client.infer(batch())) == 200
        assert len(server.connections) == 1


async def test_going_away_ends_what_it_will_not_answer_and_a_new_connection_is_made() -> None:
    async def leave(request: Request) -> None:
        await request.whole.wait()
        await request.connection.go_away(last_stream_id=0)

    behaviours: list[Behaviour] = [leave, echo]
    async with h2_server(lambda r: behaviours.pop(0)(r)) as server, client_of(server) as client:
        begun_s = time.monotonic()
        assert kind(await client.infer(batch())) == "connection_reset"
        assert time.monotonic() - begun_s < 1
        assert kind(await client.infer(batch())) == 200
        assert len(server.connections) == 2


async def test_a_graceful_goaway_loses_no_answer_and_the_next_request_takes_a_new_connection() -> None:
    async def leave(request: Request) -> None:
        await request.whole.wait()
        await request.connection.go_away_gracefully(request.stream_id)
        await anyio.sleep(0.05)
        await request.answer(200, b"after all")

    behaviours: list[Behaviour] = [leave, echo]
    async with h2_server(lambda r: behaviours.pop(0)(r)) as server, client_of(server) as client:
        outcomes = await two_outcomes(client, server, after_s=0.02)  # by when the GOAWAY has come
        assert sorted(outcome.body for outcome in outcomes if isinstance(outcome, Answer)) == [b"640 1", b"after all"]
        assert len(server.connections) == 2


async def test_the_context_ends_with_requests_outstanding() -> None:
    async with h2_server(hang) as server:
        async with anyio.create_task_group() as tasks, client_of(server) as client:
            tasks.start_soon(client.infer, batch())
            await server.arrived(1)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(1):
            await server.connections[0].ended.wait()
