"""Forensics of a living program that was made to lose a wake-up, on either build."""

import pytest

from profiles.forensics.capture import capture
from tests.interpreters import python_of
from tests.profiles.profilers.attach import FREE_THREADED_OR_GIL, program

SOURCE = """
import asyncio

class Lost:
    "A future that is done, and calls nobody back."
    _asyncio_future_blocking = False
    def __await__(self):
        self._asyncio_future_blocking = True
        yield self
    def get_loop(self):
        return asyncio.get_running_loop()
    def add_done_callback(self, callback, *, context=None):
        pass
    def done(self):
        return True

async def healthy():
    while True:
        await asyncio.sleep(0.01)

async def stalled():
    await Lost()

async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    tasks = [asyncio.create_task(healthy(), name="healthy")]
    if {lose}:
        tasks.append(asyncio.create_task(stalled(), name="session-1"))
    await asyncio.sleep(0.1)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main())
"""


@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
def test_a_lost_wake_up_is_found_and_named(tag: str) -> None:
    with program(python_of("memray", tag), SOURCE.replace("{lose}", "True")) as (pid, (port,)):
        evidence = capture([pid], int(port))
    (finding,) = evidence["findings"]
    assert finding["kind"] == "lost wake-up"
    assert finding["what"].startswith("session-1 ")
    assert "__main__.Lost" in finding["what"]
    assert "stalled (<string>:" in finding["stack"][0]
    assert any("_run_once" in frame for frames in evidence["thread_stacks"][str(pid)].values() for frame in frames)


@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
def test_a_healthy_program_gives_no_finding(tag: str) -> None:
    with program(python_of("memray", tag), SOURCE.replace("{lose}", "False")) as (pid, (port,)):
        evidence = capture([pid], int(port))
    assert evidence["findings"] == []
    assert evidence["looks"][0]["threads"][0]["tasks"]
