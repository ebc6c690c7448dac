"""Runs the suite on every CPython that is here, and keeps each one's last result in docs/test-all.md: `make test-all`.

Takes minutes for each. `python -m tests.on_every_python 3.12` runs it on that one alone.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from experiment.run import commit
from experiment.setup import CHECKOUT, SetupError, ensure
from experiment.setup.facts import OLDEST_MINOR, Request
from experiment.setup.places import Places
from experiment.setup.present import present

PAGE = CHECKOUT / "docs" / "test-all.md"
HEAD = """\
<!-- Written by `make test-all`; do not edit. -->

# The suite on every Python

Each row is the last run of the whole suite on that CPython: `make test-all` runs it on every one that is there,
`make test` on one.

| CPython | version | date | commit | result | seconds |
| --- | --- | --- | --- | --- | --- |
"""


def requests(here: Iterable[dict[str, Any]]) -> list[Request]:
    """The builds among those described that the laboratory runs on, oldest first."""
    found = ((Request(facts["version_info"][1], facts["free_threaded"]), facts) for facts in here)
    fitting = {request for request, facts in found if request.minor >= OLDEST_MINOR and not request.mismatch(facts)}
    return sorted(fitting, key=_age)


def _age(request: Request) -> tuple[int, bool]:
    return request.minor, request.free_threaded


def run_suite(python: Path, arguments: Sequence[str] = ()) -> tuple[bool, str]:
    """Whether pytest was content on `python`, and what it counted: "1 failed, 1400 passed, 30 skipped"."""
    with tempfile.TemporaryDirectory(prefix="test-all-") as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "-m", "", f"--junitxml={report}", *arguments]  # slow ones, too
        status = subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode
        if not report.exists():
            return False, f"pytest ended with status {status} and no report"
        suite = ElementTree.parse(report).getroot()[0].attrib
    bad, skipped = int(suite["failures"]) + int(suite["errors"]), int(suite["skipped"])
    passed = f"{int(suite['tests']) - bad - skipped} passed, {skipped} skipped"
    return status == 0, f"{bad} failed, {passed}" if bad else passed


def with_row(page: str, name: str, *cells: str) -> str:
    """`page` with the row `name` ("3.14t") put in, or in place of the one of that name."""
    rows = {row.split()[1]: row for row in re.findall(r"^\| 3\..*$", page, flags=re.MULTILINE)}
    rows[name] = f"| {' | '.join((name, *cells))} |"
    in_order = sorted(rows, key=lambda name: _age(Request.parse(name)))
    return HEAD + "".join(f"{rows[name]}\n" for name in in_order)


def main(names: Sequence[str]) -> int:
    """0 where no run of the suite failed; one that the packages are not for has its row, and does not count."""
    content = True
    lab = commit()  # before the page changes
    at = f"{lab['commit'][:10]}{' and changes' if lab['changed'] else ''}" if lab["commit"] else "—"
    for request in map(Request.parse, names) if names else requests(present(Places())):
        began = time.monotonic()
        try:
            environment = ensure("test", str(request), allow_stand_in=False)
        except SetupError as error:
            version, result, took_s = "—", error.reason, "—"
        else:
            good, result = run_suite(environment.python)
            content &= good
            version, took_s = environment.interpreter.tag, f"{time.monotonic() - began:.0f}"
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(with_row(page, str(request), version, today, at, result, took_s), encoding="utf-8")
        print(f"{request}: {result}", flush=True)
    return 0 if content else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
