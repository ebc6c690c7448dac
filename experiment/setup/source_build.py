"""Build CPython from a source package of the archive into the cache outside the checkout.

Without profile-guided optimisation: about three minutes on two cores. Where the source comes from, `debian` knows.
"""

import hashlib
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiment.setup.commands import Report, clean_environment, run
from experiment.setup.debian import Apt, Archive, packages, upstream
from experiment.setup.facts import Request, describe
from experiment.setup.failures import Unavailable
from experiment.setup.places import Places, locked

_TYPICAL_S = 360  # of one core; two halve it
_STAGE_LIMIT_S = {"configure": 600, "make": 3600, "install": 900}
_OPTIONS = ("--with-ensurepip=no", "--disable-test-modules", "--without-static-libpython")
_MODULES = "ssl, zlib, ctypes, hashlib, socket, select, asyncio, multiprocessing"

# What a build needs: a command or a header, and the Debian package that has it.
_COMMANDS = {"cc": "gcc", "make": "make"}
_HEADERS = {
    "stdio.h": "libc6-dev",
    "zlib.h": "zlib1g-dev",
    "ffi.h": "libffi-dev",
    "openssl/ssl.h": "libssl-dev",
}
PACKAGES = "gcc make libc6-dev zlib1g-dev libffi-dev libssl-dev"


def lacking() -> list[tuple[str, str]]:
    """What a build would miss here: (command or header, Debian package)."""
    missing = [(name, package) for name, package in _COMMANDS.items() if shutil.which(name) is None]
    if any(name == "cc" for name, _ in missing):
        return missing + list(_HEADERS.items())[1:]  # cannot be looked for without a compiler
    with tempfile.TemporaryDirectory() as folder:
        for header, package in _HEADERS.items():
            probe = Path(folder) / "probe.c"
            probe.write_text(f"#include <{header}>\n")
            if not run(["cc", "-E", probe, "-o", Path(folder) / "probe.i"], timeout_s=20).ok:
                missing.append((header, package))
    return missing


def lacking_line(missing: list[tuple[str, str]]) -> str:
    names = ", ".join(name for name, _ in missing)
    return f"the build lacks {names}: `apt install {' '.join(dict.fromkeys(package for _, package in missing))}`"


def build(places: Places, archive: Archive, request: Request, report: Report, *, allow_older: bool) -> dict[str, Any]:
    """Facts (see `describe`) of an interpreter built from the newest source that can really be downloaded.

    Raises Unavailable.
    """
    with locked(places.cache / "build.lock", report):
        places.interpreters.mkdir(parents=True, exist_ok=True)
        for left_over in places.cache.glob("build-*/"):  # of a build that was killed: we hold the lock
            shutil.rmtree(left_over, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=places.cache) as folder:
            apt_home = Path(folder) / "apt"
            apt_home.mkdir()
            report(f"asking the {archive.distribution} archive for newer Python sources (private apt configuration)")
            apt = Apt(apt_home, archive)
            apt.update()
            refused: list[str] = []
            for package in packages(request, allow_older=allow_older):
                for version in apt.versions(package):
                    options = (*_OPTIONS, *(("--disable-gil",) if request.free_threaded else ()))
                    prefix = places.interpreters / _folder(request, version, options)
                    if not (prefix / "bin" / "python3").is_file():
                        try:
                            tarball = apt.download(package, version)
                        except Unavailable as error:
                            refused.append(str(error))
                            report(f"not there after all: {error}")
                            continue
                        _compile(tarball, Path(folder), prefix, options, report)
                    source = f"{archive.distribution.capitalize()} source build"
                    return describe(prefix / "bin" / "python3") | {"source": source}
    raise Unavailable(
        "; ".join(refused)
        or f"the archive's lists name none of {', '.join(packages(request, allow_older=allow_older))}"
    )


def _folder(request: Request, version: str, options: tuple[str, ...]) -> str:
    recipe = "\n".join((version, *options, platform.machine(), *platform.libc_ver()))
    tag = f"{upstream(version)}{'t' if request.free_threaded else ''}"
    return f"{tag}-{hashlib.sha256(recipe.encode()).hexdigest()[:10]}"


def _compile(tarball: Path, work: Path, prefix: Path, options: tuple[str, ...], report: Report) -> None:
    cores = os.cpu_count() or 1
    log = prefix.parent.parent / f"build-{prefix.name}.log"
    log.unlink(missing_ok=True)
    expected_s = max(60.0, _TYPICAL_S / cores)
    report(f"building CPython {prefix.name} (no ready-made one was found); about {expected_s / 60:.0f} min; log: {log}")
    source = work / "source"
    with _readable(tarball) as archive_file:
        if hasattr(tarfile, "data_filter"):
            archive_file.extractall(source, filter="data")
        else:
            archive_file.extractall(source)
    (tree,) = source.iterdir()
    staged = work / "staged"
    stages = {
        "configure": ["./configure", f"--prefix={prefix}", *options],
        "make": ["make", f"-j{cores}"],
        "install": ["make", "install", f"DESTDIR={staged}"],
    }
    before_s = 0.0
    for stage, command in stages.items():
        finished = run(
            command,
            timeout_s=_STAGE_LIMIT_S[stage],
            cwd=tree,
            env=clean_environment(),
            log=log,
            tell=_teller(stage, before_s, expected_s, report),
        )
        before_s += finished.took_s
        if not finished.ok:
            raise Unavailable(f"{stage} of CPython {prefix.name} failed ({finished.why()}); log: {log}")
    built = staged / prefix.relative_to("/")
    check = run([built / "bin" / "python3", "-c", f"import {_MODULES}"], timeout_s=60)
    if not check.ok:
        raise Unavailable(f"CPython {prefix.name} was built without a module it needs ({check.why()}); log: {log}")
    shutil.rmtree(prefix, ignore_errors=True)
    built.rename(prefix)
    report(f"built CPython {prefix.name} in {before_s:.0f} s, kept in {prefix}")


def _teller(stage: str, before_s: float, expected_s: float, report: Report) -> Callable[[float], None]:
    def tell(gone_s: float) -> None:
        total_s = before_s + gone_s
        left_s = expected_s - total_s
        left = f"about {left_s:.0f} s left" if left_s > 0 else "longer than usual, still going"
        report(f"building CPython: {stage}, {total_s:.0f} s so far, {left}")

    return tell


@contextmanager
def _readable(tarball: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(tarball) as archive_file:
            yield archive_file
    except tarfile.ReadError as error:
        raise Unavailable(f"{tarball.name} cannot be unpacked ({error}); this Python may lack lzma") from None
