"""`make bench BEFORE=<commit>`: the draining loop of that commit beside this one's, both at once on the same CPUs.

One after another, two loops differ by what the machine does meanwhile: a third from minute to minute. At once they meet
the same clock rate, the same neighbours and the same caches, and each pays for its own CPU time. What each costs
absolutely is higher than alone; their ratio is what is asked for. Each round starts them in the other order.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiment.host import role_environment
from experiment.run import Display, checked_out, git
from experiment.setup import CHECKOUT, Environment

SESSIONS = 500
"""Of each of the two."""
SECONDS = 8
ROUNDS = 6
_START_S = 6
"""Connections, and the loop's own warm-up."""


def measure_before(revision: str, builds: Sequence[Environment], display: Display) -> dict[str, Any]:
    """`{revision, this, subject, sessions, rounds: [{tag, kind, round, us: [this, that]}]}`: µs of CPU per
    session-second; `kind` is "before", or "a/a", where both are this checkout's; `subject` says what changed.

    Raises:
        SetupError: no such commit.
    """
    tree = checked_out(revision)
    planned = [
        (build, kind, other, number)
        for number in range(ROUNDS)
        for build in builds
        for kind, other in (("before", tree), ("a/a", CHECKOUT))
    ]
    found = []
    for done, (build, kind, other, number) in enumerate(planned):
        left_s = (len(planned) - done) * (SECONDS + _START_S)
        tag = build.interpreter.tag
        with display.stage(
            f"CPython {tag}, round {number + 1}, {kind} (about {left_s} s left)", SECONDS + _START_S
        ) as stage:
            stage.update("both loops at once")
            us = _at_once(build.python, (CHECKOUT, other), is_reversed=number % 2 == 1)
        display.note(f"CPython {tag}, round {number + 1}, {kind}: {us[0]:.1f} µs, {us[1]:.1f} µs")
        found.append({"tag": tag, "kind": kind, "round": number, "us": us})
    changed = git("log", "--reverse", "--format=%s", f"{revision}..HEAD", "--", "gateway", "variants/drain") or ""
    return {
        "revision": revision,
        "this": git("rev-parse", "--short", "HEAD"),
        "subject": "; ".join(changed.splitlines()) or "nothing that the loop runs",
        "sessions": SESSIONS,
        "rounds": found,
    }


def _at_once(python: Path, trees: tuple[Path, Path], *, is_reversed: bool) -> list[float]:
    order = [1, 0] if is_reversed else [0, 1]
    command = [str(python), "-m", "experiment.bench.draining", "--sessions", str(SESSIONS), "--seconds", str(SECONDS)]
    environment = role_environment().variables
    running = {
        place: subprocess.Popen(command, cwd=trees[place], env=environment, stdout=subprocess.PIPE) for place in order
    }
    said = {place: process.communicate()[0] for place, process in running.items()}
    for process in running.values():
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, command)
    return [round(json.loads(said[place])["total_us"], 2) for place in (0, 1)]
