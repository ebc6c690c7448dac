"""Run a program in the foreground as if it were this process, and say how it ended where it could not itself.

Signals reach it, it does not outlive us, and nothing of it is captured.
"""

import ctypes
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from experiment.setup.commands import clean_environment

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In the child: be asked to stop when our parent is gone, however it went (Linux; elsewhere without effect)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def run_in_foreground(argv: Sequence[str | Path], reason_name: str, env: Mapping[str, str] | None = None) -> int:
    """Exit status of `argv`; where a signal ended it, prints an EXIT line on stdout and returns 1.

    `env` is its whole environment (None: `clean_environment`). Ctrl-C reaches the child by itself, from the terminal:
    here it is only waited for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(argv, env=clean_environment() if env is None else env, preexec_fn=_restore)

    def forward(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    status = process.wait()
    if status < 0:
        print(f"EXIT 1 {reason_name} was ended by {signal.Signals(-status).name}", flush=True)
        return 1
    return status


def _restore() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _end_with_parent()
