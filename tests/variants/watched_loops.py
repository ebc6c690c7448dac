"""The picows host with sessions that remember which threads called them; prints what they saw when a signal ends it.

Started as a process on a free-threaded build, so it may import nothing but the host and the standard library.
"""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

from gateway import Session, SessionSettings, Tally
from variants.picows_loops import loops
from variants.shared.build import gil_enabled
from variants.shared.loop_threads import LOOPS, serve
from variants.shared.options import HostOptions

VERBS = ("start", "frame", "tick", "answered", "failed", "written", "close")


class WatchedSession(Session):
    """A session that notes the thread of every verb."""

    def __init__(self, settings: SessionSettings, phase_ms: float, tally: Tally) -> None:
        super().__init__(settings, phase_ms, tally)
        self.threads = {threading.get_ident()}
        self.calls: Counter[str] = Counter()
        SESSIONS.append(self)


SESSIONS: list[WatchedSession] = []


def _watched(name: str) -> Callable[..., Any]:
    verb = getattr(Session, name)

    @wraps(verb)
    def watch(self: WatchedSession, *arguments: Any) -> Any:
        self.threads.add(threading.get_ident())
        self.calls[name] += 1
        return verb(self, *arguments)

    return watch


def main() -> int:
    """Serve with watched sessions; one JSON object on stdout at the end."""
    options = HostOptions.parse(loops=LOOPS, transports=("h2", "h1"))
    for name in VERBS:
        setattr(WatchedSession, name, _watched(name))
    vars(loops)["Session"] = WatchedSession
    status = serve("watched", options, loops.serve_loop)
    by_thread = Counter(ident for session in SESSIONS for ident in session.threads)
    report = {
        "gil": gil_enabled(),
        "sessions": len(SESSIONS),
        "sessions_by_thread": list(by_thread.values()),
        "most_threads_of_a_session": max((len(session.threads) for session in SESSIONS), default=0),
        "calls": sum((session.calls for session in SESSIONS), Counter()),
    }
    print(json.dumps(report), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
