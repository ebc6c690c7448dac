"""What the garbage collector of a gateway does in the window: each collection, what one more frees, and whose it was.

A script in each process counts by `gc.callbacks` from beginning to end of the window; a second one takes stock after
it. On a free-threaded build it also reads who made what is alive, and what waits for its maker to let it go: the first
words of an object (Include/object.h of 3.13 to 3.15: ob_tid, the owner's thread; the low two bits of ob_ref_shared).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from profiles.profilers.inject import CannotInject, inject, thread_names
from profiles.profilers.kinds import STOP_S, ProfilerFailed, Target

TYPES_KEPT = 12
"""Of each census, the commonest."""

_BEGIN = """\
import sys, threading
if sys.__dict__.setdefault("_lab_collector_owner", threading.get_ident()) == threading.get_ident():
    import gc, time
    def note(phase, info, log=[], began=[], clock=time.monotonic):
        if phase == "start":
            began[:] = [clock()]
        elif began:  # not one that had begun when this was put in
            log.append((began.pop(), clock(), info["generation"], info["collected"]))
    sys._lab_collector = (note, note.__defaults__[0], time.monotonic())
    gc.callbacks.append(note)
    open({begun!r}, "w").close()
"""
_END = """\
import sys
mine = sys.__dict__.pop("_lab_collector", None)
if mine is not None:
    import gc, json, os, time
    note, log, began_s = mine
    gc.callbacks.remove(note)
    found = {{
        "began_s": began_s,
        "window_s": time.monotonic() - began_s,
        "enabled": gc.isenabled(),
        "threshold": gc.get_threshold(),
        "frozen": gc.get_freeze_count(),
        "collections": [
            {{"at_s": start - began_s, "ms": (end - start) * 1000, "generation": generation, "collected": collected}}
            for start, end, generation, collected in log
        ],
    }}
    with open({part!r}, "w") as file:
        json.dump(found, file)
    os.replace({part!r}, {done!r})
"""
_STOCK = """\
import sys, threading
if sys.__dict__.pop("_lab_collector_owner", None) is not None:
    import ctypes, gc, json, os
    from collections import Counter
    found = {{"owners": None}}
    alive = gc.get_objects()
    found["tracked"] = len(alive)
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        word, count = ctypes.c_size_t.from_address, Counter()
        for each in alive:
            at = id(each)
            count[type(each).__name__, word(at).value, word(at + 16).value & 3] += 1
        found["owners"] = [[*key, number] for key, number in count.items()]
    each = None
    del alive, each
    was_enabled = gc.isenabled()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    found["freed"] = dict(Counter(type(one).__name__ for one in gc.garbage).most_common({kept}))
    found["freed_in_all"] = len(gc.garbage)
    gc.garbage.clear()
    if was_enabled:
        gc.enable()
    with open({part!r}, "w") as file:
        json.dump(found, file)
    os.replace({part!r}, {done!r})
"""
_UNOWNED, _QUEUED = 0, 2
"""No thread's any more; waiting for its owner to merge its two reference counts (`_Py_REF_QUEUED`)."""


class Collector:
    """Collections of the window by time, and after it a census of what is alive and of what one collection frees. The
    census stops the gateway for as long as it takes, some tenths of a second."""

    unit = "objects"

    def __init__(self, *, census: bool = True) -> None:
        self._census = census

    async def start(self, target: Target, folder: Path) -> None:
        self._folder = folder
        self._pids: list[int] = []
        for pid in target.pids:
            script = self._file(pid, "begin.py")
            script.write_text(_BEGIN.format(begun=str(self._file(pid, "begun"))), encoding="utf-8")
            try:
                inject(pid, script)
            except CannotInject:
                continue  # a helper that is no interpreter
            self._pids.append(pid)
        if not self._pids:
            raise ProfilerFailed(
                "collector: no process of the gateway is a CPython 3.14 or 3.15 that lets itself be asked"
            )

    def _file(self, pid: int, suffix: str) -> Path:
        return (self._folder / f"collector-{pid}.{suffix}").resolve()

    async def stop(self) -> dict[str, Any]:
        processes, failed = [], []
        for pid in self._pids:
            if not self._file(pid, "begun").exists():
                continue  # a process in which nothing ran
            try:
                process = await self._ask(pid, "end", _END)
                if self._census:
                    process |= await self._take_stock(pid)
            except (CannotInject, ProfilerFailed) as error:
                failed.append(f"collector-{pid}: {error}")
            else:
                processes.append(process)
        for file in self._folder.glob("collector-*"):
            file.unlink()
        if not processes:
            raise ProfilerFailed(
                "; ".join(failed) or "collector: no thread of the gateway came by; was there any load?"
            )
        shows = "collections in the window" + (
            ", and what is alive and what one collection frees after it" if self._census else ""
        )
        return {"shows": shows, "processes": processes} | ({"failed": failed} if failed else {})

    async def _take_stock(self, pid: int) -> dict[str, Any]:
        names = thread_names(pid)
        found = await self._ask(pid, "stock", _STOCK)
        found["owners"] = None if found["owners"] is None else by_owner(found["owners"], names)
        return found

    async def _ask(self, pid: int, name: str, script: str) -> dict[str, Any]:
        """Run it in the process, and what it wrote."""
        done, part, file = (self._file(pid, suffix) for suffix in ("done", "part", f"{name}.py"))
        file.write_text(script.format(part=str(part), done=str(done), kept=TYPES_KEPT), encoding="utf-8")
        inject(pid, file)
        with anyio.move_on_after(STOP_S) as waiting:
            while not done.exists():  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.05)
        if waiting.cancelled_caught:
            raise ProfilerFailed(f"did not end within {STOP_S:g} s: no thread of the gateway came by")
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        done.unlink()
        return found


def summary(process: Mapping[str, Any], sessions: int) -> dict[str, float | int | None]:
    """Of one process's window: how many collections a second, how long they stopped it (a free-threaded build: every
    thread of it), and the objects that they freed, also for each session and second."""
    window_s, pauses = process["window_s"], [each["ms"] for each in process["collections"]]
    collected = sum(each["collected"] for each in process["collections"])
    return {
        "collections_per_s": len(pauses) / window_s,
        "pause_ms_per_s": sum(pauses) / window_s,
        "longest_pause_ms": max(pauses, default=None),
        "collected_per_session_second": collected / window_s / sessions,
    }


def by_owner(census: Sequence[Sequence[Any]], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Who owns what is alive, most first: `thread` (see `inject.thread_names`; several may have one name), `objects`,
    how many of them are `queued`, and the commonest `queued_types`.

    Args:
        census: [type, owner, state, number] of what is tracked; see the script.
        names: of threads that Python knows, by their identity.
    """
    objects, queued = Counter[str](), Counter[str]()
    types: dict[str, Counter[str]] = {}
    for kind, owner, state, number in census:
        name = "nobody" if owner == _UNOWNED else names.get(owner, "a thread that has ended")
        objects[name] += number
        if state == _QUEUED and owner != _UNOWNED:
            queued[name] += number
            types.setdefault(name, Counter())[kind] += number
    return [
        {
            "thread": name,
            "objects": number,
            "queued": queued[name],
            "queued_types": dict(types.get(name, Counter()).most_common(TYPES_KEPT)),
        }
        for name, number in objects.most_common()
    ]
