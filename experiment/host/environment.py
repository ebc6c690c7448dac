"""What of the user's environment variables reaches a process that is measured, or that measures: those on a list, and
those that were asked for by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiment.setup import CHECKOUT

_PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|XDG_CACHE_HOME|TZ|LANG|LANGUAGE|LC_\w+"
    r"|LD_LIBRARY_PATH"  # an interpreter may not start without it
)
_OURS = {
    "PYTHONUNBUFFERED": "1",  # a role's log is whole when it ends
    # A free-threaded CPython makes constants immortal in modules that it loads from bytecode, not in those that it
    # compiles: threads then count references to them. So bytecode is always there, whatever the user's variables say.
    "PYTHONPYCACHEPREFIX": str(CHECKOUT / ".lab" / "bytecode"),
}
_WOULD_DISTURB = re.compile(
    r"PYTHON(?!S\b)[A-Z]+|PYTHON_(GIL|JIT|TLBC|CPU_COUNT|FROZEN_MODULES|PRESITE|PERF_JIT_SUPPORT|DISABLE_REMOTE_DEBUG)"
    r"|PYTHON_(THREAD_INHERIT_CONTEXT|CONTEXT_AWARE_WARNINGS)"
    r"|LD_(?!LIBRARY_PATH)\w+|GLIBC_TUNABLES|MALLOC_\w+|(_RJEM|JE)_?MALLOC_CONF|(TC|MI)MALLOC_\w+|\w+SAN_OPTIONS"
    r"|(GRANIAN|UVICORN|UVLOOP|WEBSOCKETS|TOKIO|NUMBA|OMP|OPENBLAS|MKL)_\w+|\w+_NO_EXTENSIONS"
    r"|RUST_(?!VERSION)\w+|WEB_CONCURRENCY|UV_(THREADPOOL_SIZE|USE_IO_URING)"
    r"|GOMAXPROCS|GOGC|GODEBUG|GOMEMLIMIT|NODE_OPTIONS|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS"
)
"""Variables that change how a process runs. They are named when they are left out; what is neither here nor on the list
is left out silently: it may be anything of the user's."""


@dataclass(frozen=True)
class RoleEnvironment:
    """`variables` is all that a role gets, before its own; `kept` of it was asked for by name; `dropped` are the names
    that would have disturbed."""

    variables: Mapping[str, str]
    kept: Mapping[str, str]
    dropped: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For the manifest: names, and the values of what was asked for, without this machine's folders."""
        kept = {name: re.sub(r"/[^\s:=]*/", "", value) for name, value in self.kept.items()}
        return {"passed": sorted(self.variables.keys() - kept.keys()), "kept": kept, "dropped": list(self.dropped)}

    def notes(self) -> list[str]:
        """What the user should know of it, if anything."""
        said = []
        if self.dropped:
            said.append(f"environment: {', '.join(self.dropped)} left out everywhere; KEEP_ENV names what to keep")
        if self.kept:
            said.append(f"environment: {', '.join(self.kept)} kept as asked; only runs with the same merge")
        return said


def role_environment(keep: Sequence[str] = (), given: Mapping[str, str] | None = None) -> RoleEnvironment:
    """Of `given` (None: this process's own), what every role is started with; `keep` names what it gets besides."""
    given = os.environ if given is None else given
    kept = {name: given[name] for name in sorted(keep) if name in given}
    passed = {name: value for name, value in given.items() if _PASSED_ON.fullmatch(name)}
    dropped = [name for name in given if _WOULD_DISTURB.fullmatch(name) and name not in {**passed, **kept, **_OURS}]
    return RoleEnvironment({**passed, **_OURS, **kept}, kept, tuple(sorted(dropped)))
