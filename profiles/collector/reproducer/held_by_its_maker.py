"""Who frees an object that one thread makes and another lets go of, and what does that cost the second one?

    python held_by_its_maker.py [--messages 300000] [--live 300000]

The standard library only; one thread answers, one asks. An answer is a dict, made by the answering thread, dropped by
the asking one. On a free-threaded CPython the last reference to an object is counted down by its maker: another thread
only puts it into the maker's queue, which the maker empties when it next runs bytecode. Four answering threads:

  in C         `map`, `iter` and queues do all its work: it makes objects and never runs bytecode, as a thread of a Rust
               or C extension does
  in Python    the same, in a loop of Python
  in C, naps   in C, but every 1000 answers it comes by a line of Python
  nobody       the asking thread makes its answers itself

For each: what collections found to free (dicts are no cycles: on a GIL build nothing), how long they stopped everybody,
and how long an answer took. `--live`: objects beside, which every collection looks at, as a server's sessions are.
"""

import argparse
import gc
import json
import math
import platform
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from queue import SimpleQueue
from typing import Any

NAP_AFTER = 1000
Message = dict[str, Any]
Queue = SimpleQueue[Any]


def in_c(asked: Queue, answers: Queue) -> None:
    """Answer until None comes: one call into C."""
    deque(map(answers.put, map(dict.copy, iter(asked.get, None))), maxlen=0)


def in_python(asked: Queue, answers: Queue) -> None:
    """The same, in bytecode."""
    while (message := asked.get()) is not None:
        answers.put(message.copy())


def in_c_with_naps(asked: Queue, answers: Queue) -> None:
    """In C, `NAP_AFTER` answers at a time."""
    messages: Iterator[Message] = iter(asked.get, None)
    while deque(map(answers.put, map(dict.copy, islice(messages, NAP_AFTER))), maxlen=1):
        pass


Answerer = Callable[[Queue, Queue], None]
ANSWERERS: dict[str, Answerer | None] = {
    "in C": in_c,
    "in Python": in_python,
    "in C, naps": in_c_with_naps,
    "nobody": None,
}


def percentile(values: list[float], percent: float) -> float:
    """The nearest rank."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def measure(answerer: Answerer | None, messages: int) -> dict[str, float | int]:
    """Ask so many times, one after the other, and drop each answer."""
    pauses: list[tuple[float, int]] = []
    began = [0.0]

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            began[0] = time.perf_counter()
        else:
            pauses.append((time.perf_counter() - began[0], info["collected"]))

    asked: Queue = SimpleQueue()
    answers: Queue = SimpleQueue()
    thread = None if answerer is None else threading.Thread(target=answerer, args=(asked, answers))
    if thread is not None:
        thread.start()
    # The list is for 3.13, whose collector does not track, and so does not count, a dict of plain values alone.
    template: Message = {"type": "websocket.receive", "bytes": b"audio", "headers": []}
    took_s = [0.0] * messages
    gc.collect()
    gc.callbacks.append(note)
    for n in range(messages):
        sent_s = time.perf_counter()
        if answerer is None:
            answer = template.copy()
        else:
            asked.put(template)
            answer = answers.get()
        del answer
        took_s[n] = time.perf_counter() - sent_s
    gc.collect()
    gc.callbacks.remove(note)
    if thread is not None:
        asked.put(None)
        thread.join()
    return {
        "collections": len(pauses),
        "collected_per_1000_messages": round(sum(found for _, found in pauses) / messages * 1000, 1),
        "longest_collection_ms": round(max(pause for pause, _ in pauses) * 1000, 2),
        "answer_p50_us": round(percentile(took_s, 50) * 1e6, 1),
        "answer_max_ms": round(max(took_s) * 1000, 2),
    }


def main() -> None:
    """Print one line of JSON for each answering thread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--live", type=int, default=300_000, help="other objects that the collector looks at")
    options = parser.parse_args()
    live = [{"kept": n} for n in range(options.live)]
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(json.dumps({"python": platform.python_version(), "gil": gil, "live": len(live)}), flush=True)
    for name, answerer in ANSWERERS.items():
        print(json.dumps({"maker": name, **measure(answerer, options.messages)}), flush=True)


if __name__ == "__main__":
    main()
