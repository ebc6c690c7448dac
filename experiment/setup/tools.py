"""uv: taken from PATH, or installed from the package index into the checkout's tool folder.

Also carries pip's index settings over to uv, which does not read them. Nothing here knows about interpreters.
"""

import ast
import hashlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiment.setup.commands import Finished, Report, clean_environment, run
from experiment.setup.failures import Attempt, SetupError
from experiment.setup.json_files import write_json
from experiment.setup.places import Places, kept

OLDEST_UV = (0, 9)
_INSTALL_LIMIT_S = 180

# pip's name for a setting → the variable that tells uv the same.
_PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}
_NO_INDEX = "no-index"
"""pip's, too; uv has an option for it and no variable."""

# What is installed is locked, with hashes: these could only forbid it, or take something else for it.
_CHOOSING = (
    *(f"UV_{name}" for name in ("EXCLUDE_NEWER", "EXCLUDE_NEWER_PACKAGE", "CONSTRAINT", "OVERRIDE", "EXCLUDE")),
    *(f"UV_{name}" for name in ("RESOLUTION", "PRERELEASE", "NO_BINARY", "NO_BINARY_PACKAGE", "NO_VERIFY_HASHES")),
    *(f"PIP_{name}" for name in ("UPLOADED_PRIOR_TO", "CONSTRAINT", "NO_BINARY")),
)


def uv_version(uv: Path) -> str | None:
    """What `uv --version` says ("0.13.9"), or None where it does not run."""
    finished = run([uv, "--version"], timeout_s=10)
    match = re.match(r"uv (\d+\.\d+\.\d+)", finished.stdout)
    return match[1] if finished.ok and match else None


def _recent(version: str | None) -> bool:
    return version is not None and tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_UV


def present_uv(places: Places) -> Path | None:
    """The uv that would be used as things are: on PATH, or in the tool folder; None where there is none yet."""
    on_path = shutil.which("uv")
    for candidate in ([Path(on_path)] if on_path else []) + [places.tools / "bin" / "uv"]:
        if candidate.is_file() and _recent(uv_version(candidate)):
            return candidate
    return None


def find_uv(places: Places, report: Report) -> Path:
    """A uv that works, installed into the tool folder if there is none. Raises SetupError."""
    wanted = hashlib.sha256(places.requirements("tools").read_bytes()).hexdigest()
    found = present_uv(places)
    if found is not None:
        stale = places.tools in found.parents and kept(places.tools / "lab.json").get("requirements_sha256") != wanted
        if not stale:
            return found
    return _install_uv(places, wanted, report)


def _install_uv(places: Places, wanted: str, report: Report) -> Path:
    python = Path(sys.executable)
    uv = places.tools / "bin" / "uv"
    report(f"installing uv from the package index into {places.tools}")
    shutil.rmtree(places.tools, ignore_errors=True)
    tried: list[Attempt] = []
    pip, target = _pip(python, places.tools, tried)
    if pip:
        command = [
            *pip,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--retries",
            "1",
            "--timeout",
            "15",
            *target,
        ]
        command += ["--require-hashes", "-r", places.requirements("tools")]
        finished = run(command, timeout_s=_INSTALL_LIMIT_S, env=_locked_environment(PIP_USER="0"))
        if finished.ok and _recent(uv_version(uv)):
            write_json(places.tools / "lab.json", {"requirements_sha256": wanted})
            return uv
        why = f"{uv} does not run" if finished.ok else finished.why()
        tried.append(Attempt("pip install uv", why, finished.took_s))
    raise SetupError(
        "uv could not be installed",
        tried=tuple(tried),
        ways_out=(
            "put uv on PATH (pipx install uv, or the system's package of it), then run the same command again",
            f"give {python} what it lacks: on Debian and Ubuntu `apt install python3-venv` or `python3-pip`",
            "let pip reach a package index (PIP_INDEX_URL or pip.conf name a mirror; a proxy goes into HTTPS_PROXY)",
        ),
    )


def _pip(python: Path, tools: Path, tried: list[Attempt]) -> tuple[list[str | Path], list[str | Path]]:
    """A pip that can fill the tool folder, and the options for that.

    It is one in a virtual environment there, else `python`'s own. Debian's python3 may lack ensurepip for the first,
    pip for the second, or both: then empty.
    """
    if importlib.util.find_spec("ensurepip") is None:
        tried.append(Attempt("a virtual environment", f"{python} has no module ensurepip", None))
    else:
        made = run([python, "-m", "venv", tools], timeout_s=_INSTALL_LIMIT_S)
        if made.ok:
            return [tools / "bin" / "python", "-m", "pip"], []
        tried.append(Attempt("a virtual environment", made.why(), made.took_s))
        shutil.rmtree(tools, ignore_errors=True)
    if importlib.util.find_spec("pip") is None:
        tried.append(Attempt("pip --target", f"{python} has no module pip", None))
        return [], []
    return [python, "-m", "pip"], ["--target", tools]


def pip_settings(pip_config: str) -> dict[str, str]:
    """By name, what `pip config list` printed of an index (lines like "global.index-url='…'"), spaces between several.

    Later lines of pip's list win, as they do for pip.
    """
    settings: dict[str, str] = {}
    for line in pip_config.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in (*_PIP_TO_UV, _NO_INDEX) and name.split(".")[0] in ("global", "install", ":env:"):
            try:
                settings[key] = " ".join(str(ast.literal_eval(value)).split())
            except (ValueError, SyntaxError):
                continue
    return settings


def uv_settings(pip: Mapping[str, str]) -> dict[str, str]:
    """uv's variables that say what pip's settings do. A folder of wheels that is not there is an error to uv alone."""
    settings = {_PIP_TO_UV[key]: value for key, value in pip.items() if key in _PIP_TO_UV}
    links = [os.path.expanduser(link) for link in settings.pop("UV_FIND_LINKS", "").split()]
    there = [link for link in links if "://" in link or os.path.exists(link)]
    return settings | ({"UV_FIND_LINKS": ",".join(there)} if there else {})


def _pip_settings() -> dict[str, str]:
    listed = run([sys.executable, "-m", "pip", "config", "list"], timeout_s=15)
    return pip_settings(listed.stdout if listed.ok else _from_variables())


def _locked_environment(**more: str) -> dict[str, str]:
    return {key: value for key, value in clean_environment(**more).items() if key not in _CHOOSING}


def uv_environment(**more: str) -> dict[str, str]:
    """The environment uv runs in: this process's, with pip's index settings where uv has none of its own."""
    settings = uv_settings(_pip_settings())
    if "UV_INDEX_URL" in os.environ:
        settings.pop("UV_DEFAULT_INDEX", None)
    own = {key: value for key, value in settings.items() if key not in os.environ}
    return _locked_environment(UV_NO_PROGRESS="1", **own, **more)


def index_options() -> list[str]:
    """What uv has to be told on its command line for want of a variable: that pip is to ask no index."""
    told = {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"} & os.environ.keys()
    no_index = _pip_settings().get(_NO_INDEX, "").lower() in ("1", "true", "t", "yes", "y", "on")
    return ["--no-index"] if no_index and not told else []


def run_uv(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path,
    report: Report,
    tell: Callable[[float], None] | None = None,
) -> Finished:
    """Run uv; where it fails and reads a uv.toml, once more without, since that may forbid what is locked.

    The first is tried with it, since it may name the only index that can be reached. Its failure is returned.
    """
    env = uv_environment()
    finished = run(command, timeout_s=timeout_s, cwd=cwd, env=env, tell=tell)
    files = [] if finished.ok else configuration_files(Path(command[0]), cwd)
    if files:
        report(f"uv failed, and reads {', '.join(files)}; trying without ({finished.why()})")
        env = {key: value for key, value in env.items() if key != "UV_CONFIG_FILE"} | {"UV_NO_CONFIG": "1"}
        again = run(command, timeout_s=timeout_s, cwd=cwd, env=env, tell=tell)
        return again if again.ok else finished
    return finished


def configuration_files(uv: Path, folder: Path) -> list[str]:
    """The uv.toml, or pyproject.toml with a table for uv, that uv reads when started in `folder`, by its own word."""
    said = run([uv, "--verbose", "cache", "dir"], timeout_s=20, cwd=folder).stderr
    read = r"(?:Found \w+ configuration (?:in:|at)|Reading user configuration from:|Failed to parse:) `?([^`\n]+)"
    return list(dict.fromkeys(re.findall(read, said)))


def _from_variables() -> str:
    """What `pip config list` would print of the environment, for a Python without pip."""
    names = {key: "PIP_" + key.upper().replace("-", "_") for key in (*_PIP_TO_UV, _NO_INDEX)}
    return "\n".join(f":env:.{key}={os.environ[name]!r}" for key, name in names.items() if name in os.environ)
