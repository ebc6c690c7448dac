"""A commit of the laboratory in a folder of its own, to run beside this checkout."""

import subprocess
from pathlib import Path

from experiment.setup import CHECKOUT, SetupError


def checked_out(revision: str) -> Path:
    """The files of that commit, in `.lab/revisions`. Raises SetupError where there is none of that name."""
    named = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if named.returncode != 0:
        raise SetupError(f"BEFORE: expected a commit of this checkout, got {revision!r}; `git log` lists them")
    folder = CHECKOUT / ".lab" / "revisions" / named.stdout.decode().strip()
    if not folder.exists():
        archive = _git("archive", revision)
        if archive.returncode != 0:
            said = archive.stderr.decode(errors="replace").strip()
            raise SetupError(f"BEFORE: expected git archive to give {revision}: {said}")
        folder.mkdir(parents=True)
        subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    return folder


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=False)
