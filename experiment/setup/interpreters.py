"""The order in which an interpreter is looked for, what is remembered of it, and what takes its place later.

What each step does in detail lives elsewhere: `present` looks, `debian` and `source_build` build.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiment.setup import debian, present, source_build
from experiment.setup.commands import Report, run
from experiment.setup.facts import (
    NEWEST_MINOR,
    OLDEST_FREE_THREADED_MINOR,
    Interpreter,
    Request,
    describe,
    signature,
)
from experiment.setup.failures import Attempt, SetupError, Unavailable
from experiment.setup.places import Memory, Places
from experiment.setup.tools import present_uv, uv_environment

RETRY_VARIABLE = "LAB_RETRY"
_INSTALL_LIMIT_S = 180
_WORTH_REMEMBERING_S = 2.0  # a failure that costs less is simply met again

Facts = dict[str, Any]


@dataclass(frozen=True)
class Steps:
    """What a search can do. Each raises Unavailable; `build` may answer with an older version than asked for."""

    find: Callable[[Request], Facts]
    install: Callable[[Request], Facts]
    present: Callable[[], list[Facts]]
    build: Callable[[Request], Facts]


def search(request: Request, steps: Steps, memory: Memory, report: Report, *, allow_stand_in: bool) -> Interpreter:
    """The first interpreter that answers: found, installed by uv, an older one already here (for a GIL build), built.

    A free-threaded stand-in already here comes last: a build may be nearer to what was asked for.
    Raises SetupError with every attempt.
    """
    tried: list[Attempt] = []

    def attempt(
        what: str, step: Callable[[Request], Facts], source: str, *, remember: bool = False
    ) -> Interpreter | None:
        before = memory.failed(what) if remember and not os.environ.get(RETRY_VARIABLE) else None
        if before is not None:
            ago_s, reason = before
            again = f"{RETRY_VARIABLE}=1 or `make clean` tries again"
            tried.append(Attempt(what, f"failed {ago_s / 3600:.1f} h ago ({reason}); {again}", None))
            return None
        began = time.monotonic()
        try:
            facts = step(request)
            wrong = request.mismatch(facts, allow_older=allow_stand_in)
            if wrong is not None:
                raise Unavailable(f"{facts['executable']} {wrong}")
        except (Unavailable, OSError) as error:  # OSError: a full disk, a cache that cannot be written
            took_s = time.monotonic() - began
            tried.append(Attempt(what, str(error), took_s))
            if remember:
                report(f"{what}: {error}")
                if took_s > _WORTH_REMEMBERING_S:
                    memory.fail(what, str(error))
            return None
        return Interpreter.from_facts(request, facts, facts.get("source", source))

    def older(request: Request) -> Facts:
        fitting = [facts for facts in steps.present() if request.mismatch(facts, allow_older=True) is None]
        if not fitting:
            raise Unavailable("none is here")
        return fitting[0]

    here = f"an older {'free-threaded' if request.free_threaded else 'GIL'} CPython already here"
    plan: list[Callable[[], Interpreter | None]] = [
        lambda: attempt(f"uv python find {request}", steps.find, "uv python find"),
        lambda: attempt(f"uv python install {request}", steps.install, "uv python install", remember=True),
        lambda: attempt(f"a build of the archive's source for {request}", steps.build, "source build", remember=True),
    ]
    if allow_stand_in:
        plan.insert(3 if request.free_threaded else 2, lambda: attempt(here, older, "already there"))
    for step in plan:
        found = step()
        if found is not None:
            if found.stand_in:
                report(stand_in_line(found))
            return found
    raise SetupError(f"no CPython {request} for this machine", tried=tuple(tried), ways_out=_ways_out(request))


def is_path(text: str) -> bool:
    """Whether it names an interpreter by its place, and not by its series."""
    return "/" in text


def at(path: str) -> Interpreter:
    """The interpreter at a path, whatever build it is. `requested` names it apart from others of the same version.

    Raises SetupError where none is that a row could run on.
    """
    try:
        facts = describe(path)
    except Unavailable as error:
        raise SetupError(f"expected the path of a CPython, got {path}: {error}") from None
    minor = facts["version_info"][1]
    if facts["implementation"] != "cpython" or not OLDEST_FREE_THREADED_MINOR <= minor <= NEWEST_MINOR:
        raise SetupError(
            f"{path} is {facts['implementation']} {facts['version']}; rows run on CPython "
            f"3.{OLDEST_FREE_THREADED_MINOR} to 3.{NEWEST_MINOR}"
        )
    found = Interpreter.from_facts(Request.of(facts), facts, "named by its path")
    place = hashlib.sha256(found.executable.encode()).hexdigest()[:8]
    return replace(found, requested=f"{found.tag}-{place}", stand_in=False)


def found_here(request: Request, steps: Steps) -> Interpreter | None:
    """Exactly what is asked for, if it is already on this machine; no network."""
    try:
        facts = steps.find(request)
    except Unavailable:
        return None
    return Interpreter.from_facts(request, facts, facts.get("source", "uv python find"))


def come_since(chosen: Interpreter, request: Request, places: Places, report: Report) -> Interpreter:
    """What has come to this machine and is better than `chosen`, else `chosen`; no network.

    Of an exact answer that is a newer one first on PATH; of a stand-in, the exact one or a newer stand-in anywhere.
    """
    if not chosen.stand_in:
        facts = present.first_on_path(request)
    else:
        uv = present_uv(places)
        exact = None if uv is None else found_here(request, real_steps(places, uv, report, allow_stand_in=False))
        if exact is not None:
            return exact
        fitting = (one for one in present.present(places) if request.mismatch(one, allow_older=True) is None)
        facts = next(fitting, None)
    if facts is None:
        return chosen
    return max(chosen, Interpreter.from_facts(request, facts, "already there"), key=lambda one: one.age)


def stand_in_line(found: Interpreter) -> str:
    return (
        f"using CPython {found.tag} at {found.executable} in place of {found.requested} ({found.source}); "
        f"for {found.requested} run `uv python install {found.requested}` or put python{found.requested} on PATH"
    )


def _ways_out(request: Request) -> tuple[str, ...]:
    build = " (configure --disable-gil)" if request.free_threaded else ""
    return (
        f"run `uv python install {request}` where the network reaches its downloads (or UV_PYTHON_INSTALL_MIRROR names "
        f"a mirror), then the same command with {RETRY_VARIABLE}=1",
        f"put a python{request} on PATH: the system's package, or your own build{build}",
        "on Debian or Ubuntu, let apt reach its archive (a proxy goes into Acquire::http::Proxy) and install "
        f"{source_build.PACKAGES}, then the same command with {RETRY_VARIABLE}=1: it is built from source",
    )


def real_steps(places: Places, uv: Path, report: Report, *, allow_stand_in: bool) -> Steps:
    """The steps as they are done on a real machine."""

    def find(request: Request) -> Facts:
        # uv may answer with the other build of the same version, or miss one behind a shim that is switched off.
        command: list[str | Path] = [
            uv,
            "python",
            "find",
            "--system",
            "--no-project",
            "--no-python-downloads",
            str(request),
        ]
        finished = run(command, timeout_s=20)
        why = finished.why()
        if finished.ok:
            facts = describe(finished.stdout.strip())
            wrong = request.mismatch(facts)
            if wrong is None:
                return facts
            why = f"{facts['executable']} {wrong}"
        for facts in present.present(places):
            if request.mismatch(facts) is None:
                return facts | {"source": "already there"}
        raise Unavailable(why)

    def install(request: Request) -> Facts:
        report(f"uv python install {request}: asking for a ready-made CPython {request} (at most {_INSTALL_LIMIT_S} s)")
        limits = {"UV_HTTP_CONNECT_TIMEOUT": "5", "UV_HTTP_TIMEOUT": "10", "UV_HTTP_RETRIES": "1"}
        limits = {key: value for key, value in limits.items() if key not in os.environ}
        finished = run(
            [uv, "python", "install", "--no-bin", str(request)],
            timeout_s=_INSTALL_LIMIT_S,
            env=uv_environment(**limits),
            tell=lambda gone_s: report(f"uv python install {request}: still at it after {gone_s:.0f} s"),
        )
        if not finished.ok:
            raise Unavailable(finished.why())
        return find(request)

    def build(request: Request) -> Facts:
        if shutil.which("apt-get") is None:
            raise Unavailable("not Debian or Ubuntu: there is no apt-get")
        lacking = source_build.lacking()
        if lacking:
            raise Unavailable(source_build.lacking_line(lacking))
        return source_build.build(places, debian.archive(), request, report, allow_older=allow_stand_in)

    return Steps(find, install, lambda: present.present(places), build)


def remembered(
    request: Request, places: Places, memory: Memory, *, allow_stand_in: bool
) -> tuple[Interpreter, bool] | None:
    """The interpreter an earlier search chose, while its file is unchanged; whether others have come or gone since."""
    record = memory.chosen(str(request))
    if record is None:
        return None
    chosen = Interpreter(**record["interpreter"])
    if signature(chosen.executable) != record["signature"]:
        return None
    if chosen.stand_in and (not allow_stand_in or os.environ.get(RETRY_VARIABLE)):
        return None
    return chosen, present.landscape(places) != record["landscape"]


def remember(chosen: Interpreter, places: Places, memory: Memory, report: Report) -> None:
    """Keep the choice for later; where it was another before, say so."""
    interpreter = asdict(chosen)
    del interpreter["tag"]  # follows from the rest
    record = {
        "interpreter": interpreter,
        "signature": signature(chosen.executable),
        "landscape": present.landscape(places),
    }
    before = memory.chosen(chosen.requested)
    was = None if before is None else Interpreter(**before["interpreter"])
    if before is not None and was is not None and (was != chosen or before["signature"] != record["signature"]):
        report(
            f"CPython {chosen.requested}: from {was.tag} at {was.executable} to {chosen.tag} at {chosen.executable}; "
            "environments on it are made again"
        )
    memory.choose(chosen.requested, record)
