"""What an interpreter's files and packages are made of, the same in every checkout: hashes, and where they came from.

    python -I experiment/host/contents.py

Prints one JSON object. It runs as a file, under any interpreter: the standard library only.
"""

import csv
import hashlib
import json
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

_LIMIT_S = 60
_HASH_DIGITS = 12
_INSTALLERS_OWN = re.compile(
    r"(\.\./)+bin/.*|.*\.pyc|[^/]+\.dist-info/(INSTALLER|REQUESTED|RECORD|direct_url\.json|uv_\w+\.json)"
)
"""What installing wrote beside the wheel's own files: launchers with a path in them, and notes."""


def contents(python: Path) -> dict[str, Any]:
    """`binary_sha256`, `libpython_sha256` (None: no shared one); `packages` by version; `package_contents`, such as
    "index 0123456789ab". Raises CalledProcessError."""
    done = subprocess.run([python, "-I", __file__], capture_output=True, text=True, check=True, timeout=_LIMIT_S)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def origin(direct_url: str | None) -> str:
    """Of a package's direct_url.json (PEP 610): what kind of place it came from; no path and no address."""
    if not direct_url:
        return "index"
    url = json.loads(direct_url)
    if "vcs_info" in url:
        return f"{url['vcs_info']['vcs']} {url['vcs_info']['commit_id'][:_HASH_DIGITS]}"
    if "dir_info" in url:
        return "editable" if url["dir_info"].get("editable") else "directory"
    return "local file" if url["url"].startswith("file:") else "url"


def record_hash(record: str | None) -> str:
    """Of a package's RECORD, which has a hash of each file; "no RECORD" where there is none."""
    if record is None:
        return "no RECORD"
    rows = [row for row in csv.reader(record.splitlines()) if row and not _INSTALLERS_OWN.fullmatch(row[0])]
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()[:_HASH_DIGITS]


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _libpython() -> str | None:
    """The shared library that this process runs."""
    mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    return next((path for path in sorted(mapped) if Path(path).name.startswith("libpython")), None)


def main() -> None:
    """Look at the interpreter that runs this, and print it."""
    library = _libpython()
    packages = sorted(distributions(), key=lambda package: package.name.lower())
    found = {
        "binary_sha256": _sha256("/proc/self/exe"),
        "libpython_sha256": None if library is None else _sha256(library),
        "packages": {package.name: package.version for package in packages},
        "package_contents": {
            package.name: f"{origin(package.read_text('direct_url.json'))} {record_hash(package.read_text('RECORD'))}"
            for package in packages
        },
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
