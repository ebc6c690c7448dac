"""Source packages of CPython from the machine's own Debian or Ubuntu archive, but of newer releases than the machine's.

The archive's address is read from the machine at run time and asked through a private apt configuration: /etc/apt is
only read.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiment.setup.commands import Finished, run
from experiment.setup.facts import Request
from experiment.setup.failures import Unavailable

_ETC = Path("/etc/apt")
_NEWER = {"debian": ("trixie", "forky", "sid"), "ubuntu": ("plucky", "questing", "resolute", "devel")}
_COMPONENTS = {"debian": "main", "ubuntu": "main universe"}
_GENERIC = ("oldstable", "stable", "testing", "unstable", "sid")
_UPDATE_LIMIT_S = 90
_DOWNLOAD_LIMIT_S = 120
_FALLBACK_MINOR = 13  # the older source package that is good enough


@dataclass(frozen=True)
class Source:
    """One place packages come from: its address, what it offers, and what authenticates it ("signed-by=…")."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: tuple[str, ...] = ()


def parse_list(text: str) -> Iterator[Source]:
    """The `deb` lines of a one-line-style file (`deb [option=value] uri suite component…`)."""
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<rest>[^#]+)", line)
        if match is None:
            continue
        words = match["rest"].split()
        if len(words) >= 2:
            yield Source(words[0], (words[1],), tuple(words[2:]), _kept(match["options"] or ""))


def _kept(options: str) -> tuple[str, ...]:
    return tuple(option for option in options.split() if option.lower().startswith("signed-by="))


def parse_deb822(text: str) -> Iterator[Source]:
    """The stanzas of a `.sources` file.

    A key written out under Signed-By is not taken over: such a source is left to apt's own keyrings.
    """
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t":
                fields[key] = f"{fields.get(key, '')} {line.strip()}"
            else:
                name, _, value = line.partition(":")
                key = name.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0") or "uris" not in fields:
            continue
        signed_by = fields.get("signed-by", "")
        options = (f"signed-by={','.join(signed_by.split())}",) if signed_by.startswith("/") else ()
        for uri in fields["uris"].split():
            yield Source(
                uri, tuple(fields.get("suites", "").split()), tuple(fields.get("components", "").split()), options
            )


def machine_sources(etc: Path = _ETC) -> list[Source]:
    """Every source that apt on this machine is told of."""
    found: list[Source] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        try:
            if path.suffix == ".list":
                found += parse_list(path.read_text())
            elif path.suffix == ".sources":
                found += parse_deb822(path.read_text())
        except OSError:
            continue
    return found


@dataclass(frozen=True)
class Archive:
    """The distribution's own archive as this machine reaches it. `lines` ask it for the sources of newer releases."""

    distribution: str
    lines: tuple[str, ...]


def archive(os_release: str | None = None, sources: Iterable[Source] | None = None) -> Archive:
    """Which archive this machine's apt uses for the distribution itself.

    A source is the distribution's own where it offers `main` for this very release; others (a vendor's) are left alone.
    Raises Unavailable elsewhere than on Debian and Ubuntu.
    """
    if os_release is None:
        path = Path("/etc/os-release")
        os_release = path.read_text() if path.is_file() else ""
    pairs = (line.partition("=") for line in os_release.splitlines() if "=" in line)
    facts = {name: " ".join(shlex.split(value)) for name, _, value in pairs}
    family = f"{facts.get('ID', '')} {facts.get('ID_LIKE', '')}".split()
    distribution = next((name for name in ("ubuntu", "debian") if name in family), None)
    if distribution is None:
        raise Unavailable(f"not Debian or Ubuntu but {facts.get('ID') or 'unknown'}")
    own = {facts.get("VERSION_CODENAME"), facts.get("UBUNTU_CODENAME"), facts.get("DEBIAN_CODENAME"), *_GENERIC}
    lines: dict[str, None] = {}
    for source in machine_sources() if sources is None else sources:
        if "main" in source.components and own.intersection(source.suites) and not source.uri.startswith("cdrom:"):
            options = f"[{' '.join(source.options)}] " if source.options else ""
            for suite in _NEWER[distribution]:
                lines[f"deb-src {options}{source.uri} {suite} {_COMPONENTS[distribution]}"] = None
    if not lines:
        raise Unavailable(f"apt's sources name no {distribution} archive with `main` for this release")
    return Archive(distribution, tuple(lines))


class Apt:
    """apt-get with a configuration, lists and cache of its own under `home`.

    The machine's proxy, keyrings and logins still count.
    """

    def __init__(self, home: Path, archive: Archive) -> None:
        for folder in ("lists/partial", "cache/archives/partial", "none"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        (home / "sources.list").write_text("\n".join(archive.lines) + "\n")
        dumped = run(["apt-config", "dump"], timeout_s=20)
        # Hooks of the machine's configuration clean up /var/cache/apt: only how to reach the archive is taken over.
        reach = [
            line
            for line in dumped.stdout.splitlines()
            if line.startswith("Acquire::") and not line.startswith(("Acquire::IndexTargets", "Acquire::Changelogs"))
        ]
        configuration = {
            "Dir::State": home,
            "Dir::State::lists": home / "lists",
            "Dir::State::status": home / "status",
            "Dir::Cache": home / "cache",
            "Dir::Log": home,
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": home / "none",
            "Dir::Etc::sourcelist": home / "sources.list",
            "Dir::Etc::sourceparts": home / "none",
            "Acquire::Retries": 0,
            "Acquire::http::Timeout": 10,
            "Acquire::https::Timeout": 10,
            "Acquire::Languages": "none",
        }
        if os.geteuid() == 0:
            configuration["APT::Sandbox::User"] = "root"  # else _apt must be able to write here
        path = home / "apt.conf"
        path.write_text("\n".join([*reach, *(f'{key} "{value}";' for key, value in configuration.items())]) + "\n")
        self._home = home
        self._environment = {key: value for key, value in os.environ.items() if key != "LANGUAGE"}
        self._environment |= {"APT_CONFIG": str(path), "LC_ALL": "C"}

    def _run(self, *argv: str, timeout_s: float) -> Finished:
        return run(argv, timeout_s=timeout_s, cwd=self._home, env=self._environment)

    def update(self) -> None:
        """Fetch the lists. A release that the archive does not have is no failure, as long as one came."""
        finished = self._run("apt-get", "update", timeout_s=_UPDATE_LIMIT_S)
        if not any("Sources" in path.name for path in (self._home / "lists").iterdir()):
            raise Unavailable(f"apt-get update brought no source list: {finished.why()}")

    def versions(self, package: str) -> list[str]:
        """Versions of a source package that the lists name, newest first, release candidates last."""
        shown = self._run("apt-cache", "showsrc", "--only-source", package, timeout_s=30).stdout
        return newest_first(re.findall(r"^Version: (\S+)$", shown, flags=re.MULTILINE))

    def download(self, package: str, version: str) -> Path:
        """The upstream tarball of a source package, checked by apt against the signed list. Raises Unavailable."""
        command = ("apt-get", "source", "--download-only", "--only-source", f"{package}={version}")
        finished = self._run(*command, timeout_s=_DOWNLOAD_LIMIT_S)
        tarballs = sorted(self._home.glob(f"{package}_{upstream(version)}.orig.tar.*z*"))
        if not finished.ok or not tarballs:
            missing = "404 Not Found" if "404" in finished.stdout + finished.stderr else finished.why()
            raise Unavailable(f"{package} {version}: {missing}")
        return tarballs[0]


def newest_first(versions: Iterable[str]) -> list[str]:
    def key(version: str) -> tuple[bool, list[int]]:
        return "~" not in version, [int(number) for number in re.findall(r"\d+", version)]

    return sorted(set(versions), key=key, reverse=True)


def upstream(version: str) -> str:
    """CPython's own version in a package's: "3.13.5" of "3.13.5-2+deb13u5"."""
    return version.rpartition(":")[2].rpartition("-")[0] or version


def packages(request: Request, *, allow_older: bool) -> tuple[str, ...]:
    """Source packages that may answer a request, nearest first."""
    minors = (request.minor, min(request.minor, _FALLBACK_MINOR)) if allow_older else (request.minor,)
    return tuple(f"python3.{minor}" for minor in dict.fromkeys(minors))
