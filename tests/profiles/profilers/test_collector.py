"""The collector's profile of a real process of either build, and whose the objects are that wait for their maker."""

from pathlib import Path

import anyio
import pytest

from profiles.profilers.collector import Collector, by_owner, summary
from tests.interpreters import python_of
from tests.profiles.profilers.attach import FREE_THREADED_OR_GIL, program
from tests.profiles.profilers.test_kinds import target

# The maker makes dicts in C and runs no bytecode; the main thread drops them, and keeps a few cycles to be collected.
PROGRAM = """
import gc, threading, time
from collections import deque
from queue import SimpleQueue
gc.disable()
asked, answers = SimpleQueue(), SimpleQueue()
def maker():
    deque(map(answers.put, map(dict.copy, iter(asked.get, None))), maxlen=0)
threading.Thread(target=maker, daemon=True, name="maker").start()
print("up", flush=True)
while True:
    for _ in range(200):
        asked.put({"type": "message"})
        answers.get()
    time.sleep(0.01)
"""


def begun(folder: Path) -> bool:
    return any(folder.glob("*.begun"))


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("tag", FREE_THREADED_OR_GIL)
async def test_what_waits_for_its_maker_is_seen_and_that_a_collection_frees_it(tag: str, tmp_path: Path) -> None:
    collector = Collector()
    with program(python_of("memray", tag), PROGRAM) as (pid, _):
        await collector.start(target(python_of("memray", tag), pid), tmp_path)
        with anyio.fail_after(20):
            while not begun(tmp_path):  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.02)
        await anyio.sleep(1.0)
        facts = await collector.stop()
    (process,) = facts["processes"]
    assert process["window_s"] > 0.9
    assert process["enabled"] is False
    assert process["collections"] == []
    assert not left(tmp_path)
    if tag.endswith("t"):
        (maker,) = [owner for owner in process["owners"] if owner["thread"].startswith("maker")]
        assert maker["queued_types"]["dict"] > 1000
        assert process["freed"]["dict"] >= maker["queued_types"]["dict"]
    else:
        assert process["owners"] is None
        assert process["freed"].get("dict", 0) < 100


def test_a_census_is_counted_by_threads_and_by_what_waits_for_them() -> None:
    census = [["dict", 10, 2, 5], ["dict", 10, 0, 7], ["Handle", 10, 2, 6], ["list", 0, 3, 4], ["list", 99, 0, 1]]
    assert by_owner(census, {10: "tokio-rt"}) == [
        {"thread": "tokio-rt", "objects": 18, "queued": 11, "queued_types": {"Handle": 6, "dict": 5}},
        {"thread": "nobody", "objects": 4, "queued": 0, "queued_types": {}},
        {"thread": "a thread that has ended", "objects": 1, "queued": 0, "queued_types": {}},
    ]


def test_a_window_is_summed_up_by_second_and_by_session_second() -> None:
    collections = [{"at_s": 1, "ms": 100.0, "generation": 0, "collected": 900}] * 2
    assert summary({"window_s": 2.0, "collections": collections}, 3) == {
        "collections_per_s": 1.0,
        "pause_ms_per_s": 100.0,
        "longest_pause_ms": 100.0,
        "collected_per_session_second": 300.0,
    }
    assert summary({"window_s": 2.0, "collections": []}, 3)["longest_pause_ms"] is None
