"""The amplifier changes when `receive()` is awaited, and nothing else."""

import time
from typing import Any

import anyio

from experiment.ask.config import load_config
from experiment.ask.schema import Variant
from variants.asgi.amplifier import delayed


def _run(kind: str, most_us: float) -> tuple[list[str], Any]:
    steps: list[str] = []
    got: list[Any] = []

    class Arriving:
        def __await__(self) -> Any:
            steps.append("awaited")
            return {"type": "x"}
            yield

    def receive_now() -> Any:
        steps.append("called")
        return Arriving()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        got.append(receive)
        got.append(await receive())

    async def send(_message: Any) -> None: ...

    anyio.run(delayed(app, most_us), {"type": kind}, receive_now, send)
    return steps, got


def test_called_first_awaited_after_and_the_message_is_passed_on() -> None:
    begin_s = time.perf_counter()
    steps, got = _run("websocket", 1000)
    assert steps == ["called", "awaited"]
    assert got[1] == {"type": "x"}
    assert time.perf_counter() - begin_s < 5


def test_other_scopes_get_the_server_s_own_receive() -> None:
    _, got = _run("http", 1000)
    assert got[0].__name__ == "receive_now"


def test_only_amplified_rows_have_it() -> None:
    for name, row in load_config().variants.items():
        assert isinstance(row, Variant)
        assert (row.receive_delay_us is not None) == name.endswith("-amplified")
        assert ("--receive-delay-us" in row.arguments(1)) == name.endswith("-amplified")
