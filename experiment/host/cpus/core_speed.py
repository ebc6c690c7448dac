"""How fast a core is after a pause: the same small piece of Python while busy, and in the millisecond after sleeping.

    python experiment/host/cpus/core_speed.py

Prints one JSON object: medians in µs. Where the two differ, costs in µs depend on how busy the core is. It runs as a
file, under any interpreter: the standard library only.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from statistics import median

PAUSE_S = 0.004
_RUN_S = 0.001
_BUSY_S = 0.2
_PAUSES = 100


def core_speed(python: Path, cpu: int) -> dict[str, float] | None:
    """What a core gives just now, in a process of its own: `{busy_us, after_pause_us}`; None where that fails.

    Virtual machines change their speed from hour to hour without saying so: this says it.
    """
    from experiment.host.environment import role_environment  # here: as a file this has no packages

    environment = role_environment().variables
    done = subprocess.run(
        [python, __file__, "--cpu", str(cpu)], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        return None
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _piece_us() -> float:
    begin_ns = time.perf_counter_ns()
    total = 0
    for number in range(300):
        total += number
    return (time.perf_counter_ns() - begin_ns) / 1000


def _pieces(seconds: float) -> list[float]:
    end_s, taken = time.monotonic() + seconds, []
    while time.monotonic() < end_s:
        taken.append(_piece_us())
    return taken


def main() -> None:
    """Measure on one core, and print it."""
    parser = argparse.ArgumentParser(prog="core_speed.py")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)), help="default: the highest")
    os.sched_setaffinity(0, {parser.parse_args().cpu})
    _pieces(_BUSY_S)  # the interpreter's own warm-up
    busy_us = median(_pieces(_BUSY_S))
    after: list[float] = []
    for _ in range(_PAUSES):
        time.sleep(PAUSE_S)
        after += _pieces(_RUN_S)
    print(json.dumps({"busy_us": busy_us, "after_pause_us": median(after)}))


if __name__ == "__main__":
    main()
