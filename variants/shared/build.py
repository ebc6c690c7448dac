"""Proof that a process runs on the interpreter its row was promised, with the GIL as that build stands for.

Looks only. Importing a module that needs the GIL turns it on for the whole process; `GIL_WARNING` is how CPython
says so.
"""

import platform
import sys
import sysconfig

GIL_WARNING = "The global interpreter lock (GIL) has been enabled to load module"
"""Begins the RuntimeWarning that names the module; `python -W "error:<this>"` makes the import fail instead."""


class WrongInterpreter(RuntimeError):
    """What runs is not what the row names: says what was expected, what came, and what to try."""


def running() -> str:
    """The interpreter of this process as tables print it: "3.14.7", or "3.14.7t" for a free-threaded build."""
    return platform.python_version() + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")


def gil_enabled() -> bool:
    """Whether the GIL is on, now: on a free-threaded build an import may have turned it on."""
    probe = getattr(sys, "_is_gil_enabled", None)
    return True if probe is None else bool(probe())


def require_interpreter(expected: str | None) -> None:
    """Check this process, after all its imports.

    Args:
        expected: "3.14.7t", say; None leaves the version open (a host started by hand), not the GIL.

    Raises:
        WrongInterpreter: another version or build, or a GIL that is on where the build has none.
    """
    found = running()
    if expected is not None and found != expected:
        raise WrongInterpreter(f"expected CPython {expected}, got {found} at {sys.executable}; run `make doctor`")
    if found.endswith("t") and gil_enabled():
        raise WrongInterpreter(
            f"CPython {found} runs with the GIL on: PYTHON_GIL or -X gil turned it on, or an import did; "
            f'python -W "error:{GIL_WARNING}" names that module'
        )
