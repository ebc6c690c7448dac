"""Which versions of a package the index has wheels of, for one interpreter. Asks uv, and installs nothing."""

import re
from collections.abc import Callable
from pathlib import Path

from experiment.setup.failures import Attempt, SetupError
from experiment.setup.places import Places
from experiment.setup.tools import find_uv, index_options, run_uv

_LIMIT_S = 60
_MOST = 200


def published(
    python: Path, package: str, oldest: str, newest: str, report: Callable[[str], None], places: Places | None = None
) -> list[str]:
    """Versions with a wheel for the environment of `python`, from the oldest to the newest, both included.

    uv is asked for the newest one below the last answer, again and again: it knows the index's settings, and which
    wheels fit.

    Raises:
        SetupError: one of the two ends has no wheel there, or the index cannot be asked.
    """
    places = places or Places()
    uv = find_uv(places, report)
    options = ["--dry-run", "--reinstall", "--no-deps", "--no-build", *index_options(), "--python", str(python)]

    def newest_of(limits: str) -> str | None:
        wanted = f"{package}{limits}"
        done = run_uv([uv, "pip", "install", *options, wanted], timeout_s=_LIMIT_S, cwd=places.checkout, report=report)
        if found := re.search(r"^ [+~] [^\s=]+==(\S+)", done.stderr, re.MULTILINE):
            return found[1]
        if "No solution found" in done.stderr:
            return None
        raise SetupError(
            f"the versions of {package} could not be found out",
            tried=(Attempt(f"uv pip install --dry-run {wanted}", done.why(), done.took_s),),
            ways_out=("let uv reach a package index (pip's index-url or UV_DEFAULT_INDEX names a mirror)",),
        )

    for end in (oldest, newest):
        if newest_of(f"=={end}") is None:
            raise SetupError(f"{package} {end} has no wheel for this interpreter, or there is no such version")
    found = [newest]
    while len(found) < _MOST:
        below = newest_of(f">={oldest},<{found[-1]}")
        if below is None:
            break
        found.append(below)
    if found[-1] != oldest:
        raise SetupError(f"expected FROM to be older than TO, got {package} {oldest} and {newest}")
    return found[::-1]
