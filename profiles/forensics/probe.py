"""Runs inside a gateway's thread, by `inject`: writes each task of that thread's loop to FOLDER/<thread>.json.

The standard library only; changes nothing. `FOLDER` is set by the line that `capture` puts before this text.
"""

import asyncio
import gc
import json
import os
import threading
import time
import types
from pathlib import Path
from typing import Any


def stack(coroutine: Any) -> list[str]:
    """From the coroutine down to what it waits for."""
    found = []
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                break
        else:
            break
        file = "/".join(Path(frame.f_code.co_filename).parts[-2:])  # no folder of this machine
        found.append(f"{frame.f_code.co_qualname} ({file}:{frame.f_lineno})")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found


def owners_of_queue(loop: Any) -> "set[int] | None":
    """Ids of the objects whose methods the loop will call next; None where it does not show its queue."""
    queue = getattr(loop, "_ready", None)
    if queue is None:
        return None
    return {id(getattr(handle._callback, "__self__", None)) for handle in list(queue) if handle._callback is not None}


def look(task: Any, queue: "set[int] | None") -> "dict[str, Any]":
    """One task: `profiles.forensics.findings.TaskLook` as JSON."""
    waiter = getattr(task, "_fut_waiter", None)
    done = getattr(waiter, "done", None)
    return {
        "id": id(task),
        "name": task.get_name(),
        "stack": stack(task.get_coro()),
        "waiter_id": None if waiter is None else id(waiter),
        "waiter_type": None if waiter is None else f"{type(waiter).__module__}.{type(waiter).__qualname__}",
        "waiter_done": bool(done()) if callable(done) else None,
        "queued": None if queue is None else id(task) in queue,
    }


def taskless(loop: Any, known: "set[int]") -> "list[dict[str, Any]]":
    """Coroutines that a host drives without a task (Granian's own scheduler), each with the future of `loop` that its
    innermost one waits for. `known`: futures that tasks wait for."""
    coroutines = [found for found in gc.get_objects() if isinstance(found, types.CoroutineType)]
    outer = {id(coroutine.cr_await): coroutine for coroutine in coroutines if coroutine.cr_await is not None}
    looks = []
    for inner in coroutines:
        waiter = inner.cr_await
        if waiter is None or id(waiter) in known or not hasattr(waiter, "add_done_callback"):
            continue
        if not hasattr(waiter, "get_loop") or waiter.get_loop() is not loop:
            continue
        outermost = inner
        while id(outermost) in outer:
            outermost = outer[id(outermost)]
        looks.append(
            {
                "id": id(outermost),
                "name": f"coroutine {outermost.__qualname__}",
                "stack": stack(outermost),
                "waiter_id": id(waiter),
                "waiter_type": f"{type(waiter).__module__}.{type(waiter).__qualname__}",
                "waiter_done": bool(waiter.done()),
                "queued": None,
            }
        )
    return looks


def write(folder: Path) -> None:
    """All tasks of this thread's running loop; nothing where none runs."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return
    at_s = time.monotonic()
    queue = owners_of_queue(loop)
    tasks = [look(task, queue) for task in asyncio.all_tasks(loop)]
    tasks += taskless(loop, {task["waiter_id"] for task in tasks})
    said = {"at_s": at_s, "tasks": tasks}
    part = folder / f"{threading.get_native_id()}.part"
    part.write_text(json.dumps(said), encoding="utf-8")
    os.replace(part, part.with_suffix(".json"))


if "FOLDER" in globals():
    write(Path(globals()["FOLDER"]))
