"""A program in place of an interpreter that says what environment it was given."""

import json
import shlex
import sys
from pathlib import Path

import pytest


def speaker(folder: Path) -> Path:
    """Prints its variables as JSON, whatever it is asked to run, and leaves them beside itself as `said.json`."""
    path = folder / "speaker"
    said = str(folder / "said.json")
    code = f"import json, os\nprint(text := json.dumps(dict(os.environ)))\nopen({said!r}, 'w').write(text)\n"
    path.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, '-I', '-c', code])}\n")
    path.chmod(0o755)
    return path


def disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the user's that no process that is measured, or measures, may see."""
    for name in ("PYTHONASYNCIODEBUG", "PYTHONMALLOC", "MALLOC_ARENA_MAX", "A_SECRET"):
        monkeypatch.setenv(name, "malloc" if name == "PYTHONMALLOC" else "1")


def is_clean(said: dict[str, str] | str) -> bool:
    """Of what a speaker said."""
    seen: dict[str, str] = json.loads(said) if isinstance(said, str) else said
    return "PATH" in seen and not seen.keys() & {"PYTHONASYNCIODEBUG", "PYTHONMALLOC", "MALLOC_ARENA_MAX", "A_SECRET"}
