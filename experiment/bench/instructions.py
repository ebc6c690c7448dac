"""How many instructions a session-second takes, counted by valgrind's callgrind: the same for the same binary, whatever
else the machine does. It stores; `experiment.report` shows.

A program runs twice over recorded input, the second time longer: the difference is of the session-seconds alone, not of
imports and warm-up. User instructions: the kernel's are not counted.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError
from experiment.bench.recorded import PROGRAMS
from experiment.host import contents, role_environment
from experiment.run import HARNESS_PYTHON, Display
from experiment.setup import CHECKOUT, Environment, describe

LENGTHS_S = (2, 6)
_COLLECTED = re.compile(r"^==\d+== Collected : (\d+)", re.MULTILINE)
_FIXED = {
    "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's threads wait busily
    # What is compiled when it is called is compiled for one kind of CPU, and kept: not for that of the day, and not
    # anew for the one that valgrind shows.
    "NUMBA_CPU_NAME": "x86-64-v2",
    "NUMBA_CPU_FEATURES": "",
}
_ABOUT_S = {"core": 15, "draining": 70, "loadgen": 220}
"""How long a program takes, both lengths."""


class NotCounted(RuntimeError):
    """A program failed under valgrind, or valgrind said no count."""


def collected(said: str) -> int:
    """The instructions of callgrind's last words. Raises NotCounted."""
    found = _COLLECTED.search(said)
    if found is None:
        raise NotCounted(f"expected callgrind to say what it collected, got {said[-300:]!r}")
    return int(found[1])


def per_session_second(counts: Sequence[int], session_seconds: Sequence[int]) -> float:
    """Of a shorter and a longer run: the difference of instructions ÷ that of session-seconds."""
    (short, long), (few, many) = counts, session_seconds
    return (long - short) / (many - few)


def count_instructions(builds: Sequence[Environment], display: Display) -> list[dict[str, Any]]:
    """`{program, tag, binary, session_seconds, instructions, valgrind}` of every program: the load generator in the
    harness, the others in each of `builds`. `instructions` of a session-second, `binary` what tells the build from
    others.

    Raises:
        ConfigError: there is no valgrind.
        NotCounted: a program failed.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise ConfigError(
            "INSTRUCTIONS: expected valgrind on PATH, found none. Install it (Debian: apt-get install valgrind)"
        )
    version = subprocess.run([valgrind, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = []
    every = [(environment.python, environment.interpreter.tag) for environment in builds]
    planned = [(program, *where) for program in PROGRAMS for where in ([_harness()] if program == "loadgen" else every)]
    for place, (program, python, tag) in enumerate(planned):
        left_s = sum(_ABOUT_S[name] for name, _, _ in planned[place:])
        title = f"instructions of {program} on CPython {tag} (about {left_s} s left)"
        with display.stage(title, _ABOUT_S[program]) as stage:
            counts, seconds = [], []
            stage.update("compiling")  # what is compiled when it is called is compiled here, and kept
            _run(_argv(python, program, min(LENGTHS_S)))
            for length_s in LENGTHS_S:
                stage.update(f"{length_s} s of it")
                count, session_seconds = count_one(valgrind, python, program, length_s)
                counts.append(count)
                seconds.append(session_seconds)
        instructions = per_session_second(counts, seconds)
        display.note(f"{program} on CPython {tag}: {instructions:,.0f} instructions per session-second")
        found.append(
            {
                "program": program,
                "tag": tag,
                "binary": _binary(python),
                "session_seconds": seconds[1] - seconds[0],
                "instructions": round(instructions, 1),
                "valgrind": version,
            }
        )
    return found


def count_one(valgrind: str, python: Path, program: str, seconds: int) -> tuple[int, int]:
    """All instructions of one run, and its session-seconds. Raises NotCounted."""
    with tempfile.TemporaryDirectory() as folder:
        counting = [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]
        done = _run([*counting, *_argv(python, program, seconds)])
    told = json.loads(done.stdout)
    if told["answered"] < told["session_seconds"]:
        raise NotCounted(f"{program}: expected an answer for each of {told['session_seconds']} session-seconds: {told}")
    return collected(done.stderr), int(told["session_seconds"])


def _argv(python: Path, program: str, seconds: int) -> list[str]:
    return [str(python), "-m", "experiment.bench.recorded", program, "--seconds", str(seconds)]


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = {**role_environment().variables, **_FIXED}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotCounted(f"{' '.join(command[-5:])}: ended with status {done.returncode}: {done.stderr[-500:]}")
    return done


def _harness() -> tuple[Path, str]:
    facts = describe(HARNESS_PYTHON)
    return HARNESS_PYTHON, f"{facts['version']}{'t' if facts['free_threaded'] else ''}"


def _binary(python: Path) -> dict[str, Any]:
    """What tells a build: a figure of another one is shown, and not compared."""
    facts = contents(python)
    return {key: facts[key] for key in ("binary_sha256", "libpython_sha256")}
