"""What git knows of this checkout, and a commit of it in a folder of its own, to run beside it."""

import subprocess
from pathlib import Path

from experiment.setup import CHECKOUT, SetupError

_LIMIT_S = 20


def git(*words: str) -> str | None:
    """What git answers; None where it does not."""
    try:
        done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def checked_out(revision: str) -> Path:
    """The files of that commit, in `.lab/revisions`. Raises SetupError where there is none of that name."""
    named = git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if named is None:
        raise SetupError(f"BEFORE: expected a commit of this checkout, got {revision!r}; `git log` lists them")
    folder = CHECKOUT / ".lab" / "revisions" / named
    if not folder.exists():
        part = folder.with_suffix(".part")  # one that was interrupted is no commit
        part.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", named], cwd=CHECKOUT, capture_output=True, check=True)
        subprocess.run(["tar", "-x"], cwd=part, input=archive.stdout, check=True)
        part.rename(folder)
    return folder
