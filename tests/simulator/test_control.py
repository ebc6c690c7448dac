"""Scripted behaviours and the request log, over both protocols."""

import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from h2.exceptions import InvalidBodyLengthError

from simulator.control import NO_HTTP
from simulator.stub import predict
from tests.simulator.conftest import Answer, H2Client, request_h1, request_h2

Request = Callable[..., Answer]
both_protocols = pytest.mark.parametrize("request_", [request_h1, request_h2], ids=["http/1.1", "h2c"])


@pytest.fixture
def body(request: pytest.FixtureRequest) -> bytes:
    """A body whose first bytes no other test has."""
    return hashlib.sha256(request.node.name.encode()).digest()[:4] + bytes(636)


@pytest.fixture
def behave(fast: int, body: bytes) -> Iterator[Callable[[dict[str, Any]], Answer]]:
    path = f"/control/behaviours/{body[:4].hex()}"
    yield lambda behaviour: request_h1(fast, "PUT", path, json.dumps(behaviour).encode())
    assert request_h1(fast, "DELETE", path).status == 200
    assert request_h1(fast, "POST", "/infer", body).body == predict(body, 4).to_json()


Behave = Callable[[dict[str, Any]], Answer]


def log(port: int, body: bytes) -> Any:
    return request_h1(port, "GET", f"/control/requests/{body[:4].hex()}").json


@both_protocols
@pytest.mark.parametrize("status", [200, 404, 429, 500])
def test_status_and_body(fast: int, body: bytes, behave: Behave, request_: Request, status: int) -> None:
    assert behave({"status": status, "body": "ünfug"}).status == 200
    assert request_(fast, "POST", "/infer", body) == Answer(status, "ünfug".encode())
    other = b"\xff" + body[1:]
    assert request_(fast, "POST", "/infer", other).body == predict(other, 4).to_json()


@both_protocols
def test_status_alone_keeps_the_prediction(fast: int, body: bytes, behave: Behave, request_: Request) -> None:
    behave({"status": 503})
    assert request_(fast, "POST", "/infer", body) == Answer(503, predict(body, 4).to_json())


@both_protocols
def test_extra_key(fast: int, body: bytes, behave: Behave, request_: Request) -> None:
    behave({"extra_key": True})
    assert request_(fast, "POST", "/infer", body).json == {**predict(body, 4)._asdict(), "extra_key": True}


@both_protocols
def test_delay(fast: int, body: bytes, behave: Behave, request_: Request) -> None:
    behave({"delay_ms": 150.5})
    started_s = time.monotonic()
    assert request_(fast, "POST", "/infer", body).status == 200
    assert time.monotonic() - started_s >= 0.1505


@both_protocols
def test_reset(fast: int, body: bytes, behave: Behave, request_: Request) -> None:
    behave({"reset": True, "delay_ms": 20})
    with pytest.raises(ConnectionResetError):
        request_(fast, "POST", "/infer", body)
    (record,) = log(fast, body)["requests"]
    assert (record["status"], record["answered_ms"]) == (None, None)


def test_reset_is_a_reset_and_not_an_orderly_close(fast: int, body: bytes, behave: Behave) -> None:
    behave({"reset": True})
    with socket.create_connection(("127.0.0.1", fast), timeout=5) as connection:
        connection.sendall(b"POST /infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def ask(port: int, body: bytes) -> socket.socket:
    """A connection of HTTP/1.1 on which `body` was sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(b"POST /infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    return connection


def came(connection: socket.socket) -> bytes:
    """All that comes until nothing more does for a while, or the end."""
    connection.settimeout(0.5)
    got = b""
    with suppress(TimeoutError):
        while data := connection.recv(65_536):
            got += data
    return got


def test_a_declared_length_is_that_whatever_is_sent(fast: int, body: bytes, behave: Behave) -> None:
    behave({"body": "0123456789", "declared_bytes": 4})
    with ask(fast, body) as connection:
        head, _, sent = came(connection).partition(b"\r\n\r\n")
    assert b"content-length: 4" in head.lower().split(b"\r\n")
    assert sent == b"0123456789"
    with pytest.raises(InvalidBodyLengthError):
        request_h2(fast, "POST", "/infer", body)


@pytest.mark.parametrize("then", ["end", "fin", "rst", "hang"])
def test_half_an_answer_over_http11(fast: int, body: bytes, behave: Behave, then: str) -> None:
    behave({"body": "0123456789", "half_then": then})
    with ask(fast, body) as connection:
        got = b""
        while not got.endswith(b"\r\n\r\n01234"):
            got += connection.recv(1)
        assert b"content-length: 10" in got.lower().split(b"\r\n")
        connection.settimeout(0.5)
        if then in ("end", "fin"):
            assert connection.recv(1) == b""
        else:
            with pytest.raises(ConnectionResetError if then == "rst" else TimeoutError):
                connection.recv(1)
    assert log(fast, body)["requests"][0]["status"] is None


@pytest.mark.parametrize(
    ("then", "error"), [("end", InvalidBodyLengthError), ("fin", ConnectionResetError), ("rst", ConnectionResetError)]
)
def test_half_an_answer_over_h2c(fast: int, body: bytes, behave: Behave, then: str, error: type[Exception]) -> None:
    behave({"half_then": then})
    with pytest.raises(error):
        request_h2(fast, "POST", "/infer", body)


def test_half_an_answer_over_h2c_that_nothing_follows(fast: int, body: bytes, behave: Behave) -> None:
    behave({"half_then": "hang"})
    client = H2Client(fast)
    client.start("POST", "/infer", body)
    time.sleep(0.2)
    other = client.start("GET", "/health")
    assert client.next_answer()[0] == other, "the connection goes on"
    client.close()


def test_no_http_at_all(fast: int, body: bytes, behave: Behave) -> None:
    behave({"no_http": True})
    with ask(fast, body) as connection:
        assert came(connection) == NO_HTTP
    client = H2Client(fast)
    client.start("POST", "/infer", body)
    assert client.last_bytes(len(NO_HTTP)) == NO_HTTP
    client.close()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_hang_holds_its_slot_until_the_client_gives_up(fast: int, body: bytes, behave: Behave, how: str) -> None:
    behave({"hang": True})
    client = H2Client(fast)
    stream = client.start("POST", "/infer", body)
    while not (requests := log(fast, body)["requests"]):
        pass
    time.sleep(0.2)
    assert request_h1(fast, "GET", "/stats").json["in_flight"] == 1
    if how == "cancel":
        client.cancel(stream)
    else:
        client.close()
    deadline_s = time.monotonic() + 5
    while request_h1(fast, "GET", "/stats").json["in_flight"]:
        assert time.monotonic() < deadline_s
    client.close()
    assert requests[0]["status"] is None


def test_the_log(fast: int, body: bytes, behave: Behave) -> None:
    behave({"delay_ms": 200})
    before_ms = time.monotonic() * 1000
    client = H2Client(fast)
    streams = [client.start("POST", "/infer", body, {"x-cpu-passes": passes}) for passes in ("4", "0")]
    assert [client.next_answer()[0] for _ in streams] == streams[::-1]
    client.close()
    behave({"status": 429, "delay_ms": 10})
    request_h1(fast, "POST", "/infer", body)

    logged = log(fast, body)
    assert logged["max_concurrent"] == 2
    first, refused, last = logged["requests"]
    assert first.keys() == {
        "arrived_ms",
        "answered_ms",
        "body_bytes",
        "body_sha256",
        "protocol",
        "cpu_passes",
        "status",
    }
    assert before_ms <= first["arrived_ms"] <= first["answered_ms"] - 200
    assert (first["body_bytes"], first["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert [record["protocol"] for record in (first, refused, last)] == ["2", "2", "1.1"]
    assert [record["cpu_passes"] for record in (first, refused, last)] == ["4", "0", None]
    assert [record["status"] for record in (first, refused, last)] == [200, 400, 429]


def test_a_marker_nobody_sent(fast: int) -> None:
    assert log(fast, b"\xde\xad\xbe\xef") == {"requests": [], "max_concurrent": 0}


@pytest.mark.parametrize(
    ("behaviour", "named"),
    [
        ({"stauts": 500, "dealy_ms": 1}, ["stauts", "dealy_ms"]),
        ({"status": "500"}, ["status"]),
        ({"status": 99}, ["status"]),
        ({"delay_ms": -1}, ["delay_ms"]),
        ([], ["body"]),
    ],
)
def test_refuses_what_is_no_behaviour(fast: int, behaviour: Any, named: list[str]) -> None:
    answer = request_h1(fast, "PUT", "/control/behaviours/cafecafe", json.dumps(behaviour).encode())
    assert answer.status == 400
    assert all(f"{name}: " in answer.json["error"] for name in named)
