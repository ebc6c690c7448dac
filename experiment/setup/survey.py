"""What set-up would find on this machine, without installing, building or asking the network for anything.

`make doctor` prints it.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from experiment.setup import present, source_build
from experiment.setup.commands import run
from experiment.setup.facts import OWN_SERIES, Interpreter, Request
from experiment.setup.places import Memory, Places
from experiment.setup.tools import present_uv, uv_version


@dataclass(frozen=True)
class Finding:
    """One thing looked for. `state` is "ok", "note" (set-up finds a way, or other rows need it) or "missing"."""

    state: str
    what: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f"  → {self.mend}" if self.mend else ""
        return f"{self.state:<8} {self.what:<14} {self.found}{mend}"


def survey(interpreters: Iterable[str] = OWN_SERIES, *, places: Places | None = None) -> list[Finding]:
    """Interpreters first (as named in experiments.toml), then uv, compiler, make and headers."""
    places = places or Places()
    here = present.present(places)
    return [*(_interpreter(Request.parse(text), here, places) for text in interpreters), _uv(places), *_build_tools()]


def interpreters_here(places: Places | None = None) -> list[tuple[Interpreter, str]]:
    """Every CPython that is to be seen on this machine, newest first, and how it was built."""
    here = (facts for facts in present.present(places or Places()) if facts["implementation"] == "cpython")
    return [(Interpreter.from_facts(Request.of(facts), facts, "already there"), _build(facts)) for facts in here]


def _interpreter(request: Request, here: list[dict[str, Any]], places: Places) -> Finding:
    what = f"CPython {request}"
    for facts in here:
        if request.mismatch(facts) is None:
            return Finding("ok", what, _named(request, facts))
    failed = Memory(places.home / "interpreters.json").failed(f"uv python install {request}")
    ago = f" (failed {failed[0] / 3600:.1f} h ago: {failed[1]})" if failed else ""
    mend = f"run `uv python install {request}`{ago}, or put python{request} on PATH"
    for facts in here:
        if request.mismatch(facts, allow_older=True) is None:
            return Finding("note", what, f"a stand-in: {_named(request, facts)}", mend)
    build = "on Debian and Ubuntu it is built from the archive's source when a row needs it"
    return Finding("note" if request.free_threaded else "missing", what, "none", f"{mend}; {build}")


def _uv(places: Places) -> Finding:
    uv = present_uv(places)
    if uv is None:
        return Finding("note", "uv", "none", "nothing to do: it is installed from the package index when needed")
    return Finding("ok", "uv", f"{uv_version(uv)} at {uv}")


def _build_tools() -> list[Finding]:
    lacking = dict(source_build.lacking())
    findings = []
    for what in ("cc", "make"):
        path = shutil.which(what)
        if path is None:
            findings.append(Finding("note", what, "none", _install(lacking[what])))
        else:
            said = run([path, "--version"], timeout_s=10).stdout.splitlines()
            findings.append(Finding("ok", what, said[0] if said else path))
    headers = {name: package for name, package in lacking.items() if name.endswith(".h")}
    if headers:
        findings.append(Finding("note", "headers", f"without {', '.join(headers)}", _install(*headers.values())))
    else:
        findings.append(Finding("ok", "headers", "C library, zlib, libffi, OpenSSL"))
    return findings


def _named(request: Request, facts: dict[str, Any]) -> str:
    found = Interpreter.from_facts(request, facts, "already there")
    return f"{found.tag} at {found.executable} ({_build(facts)})"


def _build(facts: dict[str, Any]) -> str:
    marks = ["pgo" if facts["pgo"] else "no pgo", *(mark for mark in ("lto", "jit", "debug") if facts[mark])]
    return f"{'free-threaded' if facts['free_threaded'] else 'GIL'}, {', '.join(marks)}, {facts['compiler']}"


def _install(*packages: str) -> str:
    return f"only needed to build CPython from source: `apt install {' '.join(dict.fromkeys(packages))}`"
