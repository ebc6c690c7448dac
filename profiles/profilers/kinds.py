"""The profilers: each starts when the measured window does, stops with it, and leaves its files in one folder.

They attach from outside and know a gateway as processes and an interpreter; `session` makes pictures of their files.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio
import anyio.to_thread

from experiment.host import ThreadTimes, Usage, role_environment, thread_times, times_between
from experiment.setup import ensure
from profiles.profilers.inject import CannotInject, inject
from profiles.profilers.stacks import format_collapsed, from_cpython

RATE_PER_S = 200
STOP_S = 30.0
_HERE = Path(__file__).parent


class ProfilerFailed(RuntimeError):
    """A profiler could not attach or left nothing; the text has its own words."""


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway as a profiler sees it."""

    main_pid: int
    pids: tuple[int, ...]
    """All of its group, the main one among them."""
    python: Path
    free_threaded: bool
    usage: Callable[[], Usage]


class Profiler(Protocol):
    """Started and stopped once; `folder` is its own and exists."""

    unit: str
    """What a weight in its collapsed stacks counts."""

    async def start(self, target: Target, folder: Path) -> None: ...
    async def stop(self) -> dict[str, Any]:
        """Its own facts for profile.json. Raises ProfilerFailed."""
        ...


@dataclass
class _Children:
    """Sampling processes beside the gateway, ended by SIGINT so that they write what they have."""

    running: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def start(self, argv: Sequence[str], log: Path) -> None:
        environment = role_environment().variables
        with log.open("wb") as file:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment)
            self.running.append((child, log))

    async def stop(self) -> dict[Path, str]:
        """End all of them; by log, what is to be said of each that failed. Its log stays."""
        for child, _ in self.running:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        failed: dict[Path, str] = {}
        for child, log in self.running:
            try:
                await anyio.to_thread.run_sync(child.wait, STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                failed[log] = f"{log.stem} did not end within {STOP_S:g} s"
                continue
            if child.returncode not in (0, -signal.SIGINT):
                words = log.read_text(errors="replace").strip().splitlines()[-3:]
                failed[log] = f"{log.stem} ended with status {child.returncode}: {' '.join(words) or 'silent'}"
        return failed


def _with_failed(facts: dict[str, Any], failed: Collection[str]) -> dict[str, Any]:
    """A profile of some of the processes says what became of the others."""
    return facts | ({"failed": list(failed)} if failed else {})


def without_processes(collapsed: str) -> str:
    """py-spy puts `process PID:"COMMAND LINE"` before a thread, for each ancestor: a command line that names machine
    paths and ports. The thread's own number says enough."""
    return re.sub(r'process \d+:".*?";(?=process \d+:"|thread \(|[^"]*$)', "", collapsed, flags=re.MULTILINE)


class PySpy:
    """py-spy: samples GIL builds, worker processes included. It cannot read a free-threaded build."""

    unit = "samples"

    def __init__(self) -> None:
        self._children = _Children()

    async def start(self, target: Target, folder: Path) -> None:
        if target.free_threaded:
            raise ProfilerFailed("py-spy cannot read a free-threaded build; take PROFILER=remote")
        self._folder = folder
        command = [
            str(Path(sys.executable).with_name("py-spy")),
            "record",
            "--pid",
            str(target.main_pid),
            "--subprocesses",
        ]
        options = ["--threads", "--function", "--format", "raw", "--rate", str(RATE_PER_S), "--duration", "86400"]
        self._children.start([*command, *options, "--output", str(folder / "stacks.txt")], folder / "py-spy.log")

    async def stop(self) -> dict[str, Any]:
        if failed := await self._children.stop():
            raise ProfilerFailed("; ".join(failed.values()))
        stacks = self._folder / "stacks.txt"
        stacks.write_text(without_processes(stacks.read_text(encoding="utf-8")), encoding="utf-8")
        (self._folder / "py-spy.log").unlink()
        return {"rate_per_s": RATE_PER_S, "shows": "threads that py-spy takes for running"}


class Remote:
    """CPython's own unwinder, in a process of the gateway's interpreter build for each of its processes."""

    unit = "samples"

    def __init__(self) -> None:
        self._children = _Children()
        self._parts: list[Path] = []

    async def start(self, target: Target, folder: Path) -> None:
        self._folder = folder
        for pid in target.pids:
            part = folder / f"remote-{pid}.txt"
            self._parts.append(part)
            script = [str(target.python), str(_HERE / "remote_sampler.py"), str(pid), str(RATE_PER_S), str(part)]
            self._children.start(script, part.with_suffix(".log"))

    async def stop(self) -> dict[str, Any]:
        failed = await self._children.stop()
        text, wall, processes = "", "", []
        for part in self._parts:
            facts, log, of_all = part.with_suffix(".json"), part.with_suffix(".log"), part.with_suffix(".wall")
            if log not in failed:
                try:
                    process = json.loads(facts.read_text(encoding="utf-8"))
                    text += part.read_text(encoding="utf-8")
                    wall += of_all.read_text(encoding="utf-8")
                except FileNotFoundError:
                    failed[log] = f"{part.stem} was ended before it began to sample"
                else:
                    processes.append(process)
                    log.unlink()
                    if not process["samples"]:
                        why = ", ".join(f"{kind} × {count}" for kind, count in process.get("failures", {}).items())
                        failed[log] = f"{part.stem}: no look succeeded ({why or 'none was taken'})"
            for used in (part, facts, of_all):
                used.unlink(missing_ok=True)
        if not processes:
            raise ProfilerFailed("; ".join(failed.values()))
        (self._folder / "stacks.txt").write_text(text, encoding="utf-8")
        (self._folder / "wall.txt").write_text(wall, encoding="utf-8")
        shows = "threads that the kernel has as running (wall.txt: every thread, running or not)"
        return _with_failed({"rate_per_s": RATE_PER_S, "shows": shows, "processes": processes}, failed.values())


class Sampling:
    """CPython's own profiler (`profiling.sampling`, from 3.15 on), run by the gateway's interpreter beside each of its
    processes: every thread, once on CPU and once by wall clock; no thread is stopped for it."""

    unit = "samples"

    def __init__(self) -> None:
        self._children = _Children()
        self._files = {"cpu": "stacks.txt", "wall": "wall.txt"}
        self._parts: list[tuple[int, str, Path]] = []

    async def start(self, target: Target, folder: Path) -> None:
        self._folder = folder
        for pid in target.pids:
            for mode in self._files:
                part = folder / f"sampling-{pid}-{mode}.txt"
                self._parts.append((pid, mode, part))
                argv = [str(target.python), "-m", "profiling.sampling", "attach", "--all-threads", "--mode", mode]
                argv += ["--sampling-rate", str(RATE_PER_S), "--collapsed", "--output", str(part), str(pid)]
                self._children.start(argv, part.with_suffix(".log"))

    async def stop(self) -> dict[str, Any]:
        threads = thread_times(pid for pid, _, _ in self._parts)
        names = {int(number.partition("/")[2]): thread.name for number, thread in threads.items()}
        failed = await self._children.stop()
        texts = dict.fromkeys(self._files, "")
        sampled = set()
        for pid, mode, part in self._parts:
            log = part.with_suffix(".log")
            if part.exists():
                texts[mode] += format_collapsed(from_cpython(part.read_text(encoding="utf-8"), names))
                sampled.add(pid)
                part.unlink()
                log.unlink()
            else:
                failed.setdefault(log, f"{part.stem} left nothing: {log.read_text(errors='replace')[-200:]}")
        if not sampled:
            raise ProfilerFailed("; ".join(failed.values()))
        for mode, name in self._files.items():
            (self._folder / name).write_text(texts[mode], encoding="utf-8")
        shows = "threads that are on CPU (wall.txt: every thread); threads are not stopped for a sample"
        facts = {"rate_per_s": RATE_PER_S, "shows": shows, "processes": [{"pid": pid} for pid in sorted(sampled)]}
        return _with_failed(facts, failed.values())


class Sched:
    """No stacks: what the scheduler did to each thread, and how long the group was throttled."""

    unit = "ms"

    async def start(self, target: Target, folder: Path) -> None:
        self._target, self._folder = target, folder
        self._usage = target.usage()
        self._first: dict[str, ThreadTimes] = thread_times(target.pids)

    async def stop(self) -> dict[str, Any]:
        last, usage = thread_times(self._target.pids), self._target.usage()
        throttled: dict[str, int | None] = {}
        for name, value in asdict(usage).items():
            before = getattr(self._usage, name)
            if name in ("periods", "throttled_periods", "throttled_us"):
                throttled[name] = None if value is None or before is None else value - before
        rows = times_between(self._first, last)
        (self._folder / "threads.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        return {"threads": rows, "throttled": throttled}


_BEGIN = """\
import sys, threading
if sys.__dict__.setdefault("_lab_memray_owner", threading.get_ident()) == threading.get_ident():
    sys.path.append({site!r})
    import memray
    sys._lab_memray = memray.Tracker(
        destination=memray.FileDestination({capture!r}, overwrite=True),
        file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS,
        trace_python_allocators=True,
    )
    sys._lab_memray.__enter__()
"""
_END = """\
import sys
tracker = sys.__dict__.pop("_lab_memray", None)
if tracker is not None:
    tracker.__exit__(None, None, None)
    open({done!r}, "w").close()
"""


class Memray:
    """memray, loaded into each process for the window: whichever thread comes by first begins and ends it. CPython's
    own allocators are traced, which is dear, but without it a small object shows only where it needs an arena, and on
    a free-threaded build (mimalloc) not at all. New arenas are counted beside what lies in them."""

    unit = "bytes"

    async def start(self, target: Target, folder: Path) -> None:
        self._folder = folder
        self._python = (await anyio.to_thread.run_sync(ensure, "memray", str(target.python))).python
        site = next(self._python.parent.parent.glob("lib/python*/site-packages"))
        self._captures: dict[int, Path] = {}
        for pid in target.pids:
            taken = (folder / f"memray-{pid}.bin").resolve()
            begin = taken.with_suffix(".begin.py")
            text = _BEGIN.format(site=str(site), capture=str(taken))
            begin.write_text(text, encoding="utf-8")
            try:
                inject(pid, begin)
            except CannotInject:
                continue  # a helper that is no interpreter
            self._captures[pid] = taken
        if not self._captures:
            raise ProfilerFailed(
                "memray: none of the gateway's processes is a CPython 3.14 or 3.15 that lets itself be asked"
            )

    async def stop(self) -> dict[str, Any]:
        begun = {pid: taken for pid, taken in self._captures.items() if taken.exists()}
        failed: dict[int, str] = {}
        for pid, taken in begun.items():
            end = taken.with_suffix(".end.py")
            end.write_text(_END.format(done=str(taken.with_suffix(".done"))), encoding="utf-8")
            try:
                inject(pid, end)
            except CannotInject as error:
                failed[pid] = f"memray: {error}"
        facts: list[dict[str, Any]] = []
        stacks = {"peak": "", "left": ""}
        for pid, taken in begun.items():
            if pid not in failed:
                try:
                    facts.append(await self._read(taken, stacks))
                except (ProfilerFailed, subprocess.CalledProcessError) as error:
                    failed[pid] = f"memray-{pid}: {error}"
        for file in self._folder.glob("memray-*"):
            file.unlink()
        if not facts:
            nobody = "memray: no thread of the gateway came by to begin; was there any load?"
            raise ProfilerFailed("; ".join(failed.values()) or nobody)
        (self._folder / "stacks.txt").write_text(stacks["peak"], encoding="utf-8")
        (self._folder / "left.txt").write_text(stacks["left"], encoding="utf-8")
        shows = "bytes allocated in the window, at its peak (left.txt: at its end)"
        return _with_failed({"shows": shows, "processes": facts}, failed.values())

    async def _read(self, taken: Path, stacks: dict[str, str]) -> dict[str, Any]:
        with anyio.move_on_after(STOP_S) as waiting:
            while not taken.with_suffix(".done").exists():  # noqa: ASYNC110 - another process makes it
                await anyio.sleep(0.05)
        if waiting.cancelled_caught:
            raise ProfilerFailed(f"did not end within {STOP_S:g} s: no thread of the gateway came by")
        stem = str(taken.with_suffix(""))
        command = [str(self._python), str(_HERE / "memory_report.py"), str(taken), stem]
        await anyio.run_process(command, env=role_environment().variables)
        for name in stacks:
            stacks[name] += taken.with_suffix(f".{name}.txt").read_text(encoding="utf-8")
        value: dict[str, Any] = json.loads(taken.with_suffix(".json").read_text(encoding="utf-8"))
        return value
