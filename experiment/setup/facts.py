"""What an interpreter is, learned by running it; and whether that is what was asked for.

Nothing here looks for, installs or builds an interpreter.
"""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiment.setup.commands import run
from experiment.setup.failures import Unavailable

OWN_SERIES = ("3.14", "3.14t")
"""Of CPython: those that the laboratory's rows are made for, where an older one may stand in."""
OLDEST_MINOR = 11  # the first CPython 3.x that the laboratory's own code runs on
OLDEST_FREE_THREADED_MINOR = 13  # the first with a free-threaded build
NEWEST_MINOR = 16  # that a row may be asked to run on

_PROBE = """
import json, platform, shlex, sys, sysconfig
v = sysconfig.get_config_var
args = v("CONFIG_ARGS") or ""
def asked(on, off):  # of configure's options of one kind the last counts; "=no" is the other word for off
    words = [w for w in shlex.split(args) if w.partition("=")[0] in (on, off)]
    return bool(words) and words[-1].partition("=")[0] == on and words[-1].partition("=")[2] != "no"
cflags = " ".join(str(v(name) or "") for name in ("PY_CFLAGS", "PY_CORE_CFLAGS", "PY_CFLAGS_NODIST"))
gil = getattr(sys, "_is_gil_enabled", None)
jit = getattr(sys, "_jit", None)
_, branch, commit = getattr(sys, "_git", ("", "", ""))
print(json.dumps({
    "executable": sys.executable,
    "base_executable": getattr(sys, "_base_executable", sys.executable),
    "base_prefix": sys.base_prefix,
    "implementation": sys.implementation.name,
    "version": platform.python_version(),
    "version_info": list(sys.version_info[:3]),
    "build": list(platform.python_build()),
    "compiler": platform.python_compiler(),
    "free_threaded": bool(v("Py_GIL_DISABLED")),
    "gil_enabled": True if gil is None else gil(),
    "debug": bool(v("Py_DEBUG")),
    "branch": branch or None,
    "commit": commit or None,
    "configure_options": args,
    "compiler_flags": v("PY_CORE_CFLAGS") or "",
    "pgo": asked("--enable-optimizations", "--disable-optimizations")
    or "-fprofile-use" in cflags
    or "-fprofile-instr-use" in cflags,
    "lto": asked("--with-lto", "--without-lto") or "-flto" in cflags,
    "jit": jit.is_available() if jit else asked("--enable-experimental-jit", "--disable-experimental-jit"),
    "jit_enabled": jit.is_enabled() if jit else None,
    "tail_call": bool(v("Py_TAIL_CALL_INTERP")) or "--with-tail-call-interp" in args,
    "libc": " ".join(platform.libc_ver()).strip(),
    "machine": platform.machine(),
}))
"""

_COMMIT_DIGITS = 7
_NAMES_A_PATH = re.compile(r"(^|[=:,\"'])(-[A-Z])?/")


def describe(executable: str | Path) -> dict[str, Any]:
    """The facts of an interpreter, as it states them when run (isolated, so that PYTHON* variables do not count).

    Keys: executable, base_executable, base_prefix, implementation, version ("3.13.5"), version_info ([3, 13, 5]),
    build, compiler, free_threaded, gil_enabled, debug, pgo, lto, libc, machine, branch, commit, configure_options and
    compiler_flags (without paths), tail_call, jit (whether there is one) and jit_enabled (whether it is on by itself;
    None: this version does not say).
    Raises Unavailable where it does not run.
    """
    finished = run([executable, "-I", "-c", _PROBE], timeout_s=10)
    if not finished.ok:
        raise Unavailable(f"{executable} does not run: {finished.why()}")
    try:
        facts: dict[str, Any] = json.loads(finished.stdout)
    except ValueError:
        raise Unavailable(f"{executable} is no Python 3: it printed {finished.stdout[:80]!r}") from None
    for name in ("configure_options", "compiler_flags"):
        facts[name] = without_paths(facts[name])
    return facts


def without_paths(options: str) -> str:
    """The words that name no absolute path: a build is the same wherever it was made and wherever it lies."""
    try:
        words = shlex.split(options)
    except ValueError:  # a quote that does not end
        words = options.split()
    return " ".join(kept for word in words if (kept := _without_paths(word)))


def _without_paths(word: str) -> str:
    """`CFLAGS=-O3 -I/opt/include` → `CFLAGS=-O3`; nothing where nothing but paths was given."""
    name, equals, value = word.partition("=") if "=" in word else ("", "", word)
    parts = [part for part in value.split() if not _NAMES_A_PATH.search(part)]
    only_paths = value and not parts
    return "" if only_paths or _NAMES_A_PATH.search(name) else f"{name}{equals}{' '.join(parts)}"


def build_marks(facts: dict[str, Any]) -> str:
    """What tells a build from a release's: "main@1a2b3c4 jit debug"; empty for a release's own.

    A release's tag is no branch, unless files of it were changed; a commit without a branch is named alone.
    """
    branch, commit = (facts["branch"] or "").removeprefix("heads/"), facts["commit"] or ""
    is_release = branch.startswith("tags/") and not branch.endswith("-dirty")
    where = "" if not commit or is_release else f"{branch or 'commit'}@{commit[:_COMMIT_DIGITS]}"
    flags = [name for name, is_so in (("jit", facts["jit_enabled"]), ("debug", facts["debug"])) if is_so]
    return " ".join(filter(None, [where, *flags]))


@dataclass(frozen=True)
class Request:
    """An interpreter as a variant's row names it: "3.14" is a GIL build, "3.14t" a free-threaded one."""

    minor: int
    free_threaded: bool

    @classmethod
    def parse(cls, text: str) -> "Request":
        match = re.fullmatch(r"3\.(\d+)(t?)", text)
        if match is None:
            raise ValueError(f'an interpreter is named "3.14" or "3.14t", not {text!r}')
        return cls(int(match[1]), bool(match[2]))

    @classmethod
    def of(cls, facts: dict[str, Any]) -> "Request":
        """What an interpreter answers exactly, by its facts."""
        return cls(facts["version_info"][1], facts["free_threaded"])

    def __str__(self) -> str:
        return f"3.{self.minor}{'t' if self.free_threaded else ''}"

    def mismatch(self, facts: dict[str, Any], *, allow_older: bool = False) -> str | None:
        """Why these facts are not what is asked for, or None where they are.

        `allow_older` also lets a stand-in pass: the same kind of build, older, but not too old for the laboratory.
        """
        if facts["implementation"] != "cpython":
            return f"is {facts['implementation']}, not CPython"
        if facts["debug"]:
            return f"is a debug build of {facts['version']}"
        if facts["free_threaded"] != self.free_threaded:
            return f"is {facts['version']}, {'a free-threaded' if facts['free_threaded'] else 'a GIL'} build"
        oldest = OLDEST_FREE_THREADED_MINOR if self.free_threaded else OLDEST_MINOR
        major, minor, _ = facts["version_info"]
        if major == 3 and (minor == self.minor or (allow_older and min(oldest, self.minor) <= minor < self.minor)):
            return None
        return f"is {facts['version']}"


@dataclass(frozen=True)
class Interpreter:
    """The interpreter that answers a request. `source` says how it was come by; `version` never flatters a stand-in."""

    requested: str
    executable: str
    version: str
    free_threaded: bool
    stand_in: bool
    source: str
    marks: str = ""
    """What tells this build from a release's, as `build_marks` says it."""
    tag: str = field(init=False)  # the version as tables print it: "3.13.5t"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tag", f"{self.version}{'t' if self.free_threaded else ''}")

    @property
    def label(self) -> str:
        """What it is: "3.15.2t", or "3.16.0a2+t main@1a2b3c4 jit"."""
        return f"{self.tag} {self.marks}".strip()

    @property
    def age(self) -> tuple[list[int], list[str]]:
        """Sorts as versions are released: 3.14.0rc2, 3.14.0, 3.14.7."""
        parts = re.findall(r"\d+|[a-z]+", self.version)
        return [int(part) for part in parts[:3]], parts[3:] or ["release"]

    @property
    def series(self) -> str:
        """As a row would name it: "3.13t"."""
        return f"{self.version.rpartition('.')[0]}{'t' if self.free_threaded else ''}"

    @classmethod
    def from_facts(cls, request: Request, facts: dict[str, Any], source: str) -> "Interpreter":
        return cls(
            requested=str(request),
            executable=facts["base_executable"] or facts["executable"],
            version=facts["version"],
            free_threaded=facts["free_threaded"],
            stand_in=request.mismatch(facts) is not None,
            source=source,
            marks=build_marks(facts),
        )


def signature(executable: str | Path) -> str | None:
    """Changes when the file behind `executable` is replaced; None where there is none."""
    try:
        status = Path(executable).stat()
    except OSError:
        return None
    return f"{status.st_size}-{status.st_mtime_ns}"
