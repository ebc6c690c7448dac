"""Forensics of a living program that was made to lose a wake-up, on either build."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from profiles.forensics.capture import capture, thread_stacks
from tests.interpreters import python_of
from tests.profiles.profilers.attach import FREE_THREADED_OR_GIL, program
from tests.profiles.profilers.test_attach import BUSY

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


@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
def test_a_program_without_asyncio_has_stacks_too(tag: str) -> None:
    with program(python_of("memray", tag), BUSY) as (pid, _):
        found = thread_stacks(pid)
    assert any("spin (" in frame for frames in found["stacks"].values() for frame in frames)
    assert found["loops"] == []


def copied(python: Path, to: Path) -> Path:
    """The interpreter behind `python` as a file of its own, with its library beside it."""
    ask = "import sys; print(sys._base_executable, sys.base_prefix, sep='\\n')"
    said = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=True, timeout=20)
    executable, prefix = map(Path, said.stdout.splitlines())
    (to / "bin").mkdir(parents=True)
    (to / "lib").symlink_to(prefix / "lib")
    return Path(shutil.copy(executable, to / "bin" / executable.name))


@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
def test_a_program_whose_binary_was_replaced_is_read_through_proc(tag: str, tmp_path: Path) -> None:
    python = copied(python_of("memray", tag), tmp_path / "python")
    with program(python, SOURCE.replace("{lose}", "True")) as (pid, (port,)):
        shutil.copy(python, tmp_path / "newer")
        (tmp_path / "newer").replace(python)
        replaced = capture([pid], int(port))
    assert [finding["kind"] for finding in replaced["findings"]] == ["lost wake-up"]
    assert any("_run_once" in frame for frames in replaced["thread_stacks"][str(pid)].values() for frame in frames)


def test_what_cannot_be_read_and_was_deleted_says_so(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    own = Path(shutil.copy(sleep, tmp_path / "sleep"))
    child = subprocess.Popen([own, "60"])
    try:
        own.unlink()
        assert thread_stacks(child.pid)["unreadable"][0] == f"{own} was deleted or replaced since it was started"
    finally:
        child.kill()
        child.wait()


def test_a_process_that_is_gone_is_unreadable_and_nothing_worse() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert "No such file" in thread_stacks(child.pid)["unreadable"][0]
