"""The program handed over to answers for itself; where it cannot, an EXIT line is printed for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import indent

import pytest

ROOT = Path(__file__).parents[3]


def hand_over(body: str, *argv: str) -> "subprocess.Popen[str]":
    parent = (
        "import sys; from experiment.setup.handover import run_in_foreground; "
        "sys.exit(run_in_foreground([sys.executable, *sys.argv[1:]], 'the experiment'))"
    )
    command = [sys.executable, "-c", parent, "-c", body, *argv]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def said_pid(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " in stat.read_text()


# In short sleeps: a signal that comes just before one long sleep would be handled only after it.
SLEEPS = "import os, time\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(0.05)"
CATCHES = (
    "import os, signal, sys, time\n"
    # No print: the signal may come in the middle of one.
    "def stop(number, frame): os.write(1, f'stopped by {signal.Signals(number).name}\\n'.encode()); sys.exit(1)\n"
    "signal.signal(signal.SIGTERM, stop)\n" + SLEEPS
)


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_its_exit_status_is_ours(status: int) -> None:
    process = hand_over(f"import sys; print('RESULT x'); sys.exit({status})")
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (status, "RESULT x\n")


def test_a_killed_program_still_ends_with_an_exit_line() -> None:
    process = hand_over(SLEEPS)
    os.kill(said_pid(process), signal.SIGKILL)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == "EXIT 1 the experiment was ended by SIGKILL\n"


def test_sigterm_reaches_it() -> None:
    process = hand_over(CATCHES)
    said_pid(process)
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "stopped by SIGTERM\n")


def test_ctrl_c_is_its_own_business() -> None:
    process = hand_over(
        "import os, signal\ntry:\n" + indent(SLEEPS, " ") + "\nexcept KeyboardInterrupt: print('caught')"
    )
    pid = said_pid(process)
    process.send_signal(signal.SIGINT)  # the terminal signals both
    os.kill(pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "caught\n")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's end on Linux only")
def test_it_does_not_outlive_us() -> None:
    process = hand_over(SLEEPS)
    pid = said_pid(process)
    process.kill()
    process.communicate(timeout=20)
    deadline = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(pid)
