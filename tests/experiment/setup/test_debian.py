"""Which archive is asked, how, and what becomes of versions that an index lists but nobody serves."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from experiment.setup import source_build
from experiment.setup.debian import (
    Archive,
    Source,
    archive,
    machine_sources,
    newest_first,
    packages,
    parse_deb822,
    parse_list,
    upstream,
)
from experiment.setup.facts import Request
from experiment.setup.failures import Unavailable
from experiment.setup.places import Places

from .conftest import Program

MIRROR = "http://mirror.test/debian"
BOOKWORM = 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'

ONE_LINE = f"""
# deb {MIRROR} trixie main
deb [arch=amd64 signed-by=/usr/share/keyrings/own.gpg] {MIRROR} bookworm main contrib # comment
deb-src {MIRROR} bookworm-updates main
   deb cdrom:[disc]/ bookworm main
debris
"""

DEB822 = f"""Types: deb
# a comment
URIs: {MIRROR}
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://vendor.test/linux/debian
Suites: bookworm
Components: stable

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://key.test/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
"""


def test_one_line_style() -> None:
    first, second, *_ = parse_list(ONE_LINE)
    assert first == Source(MIRROR, ("bookworm",), ("main", "contrib"), ("signed-by=/usr/share/keyrings/own.gpg",))
    assert second == Source(MIRROR, ("bookworm-updates",), ("main",))


def test_deb822_style() -> None:
    own, vendor, key = parse_deb822(DEB822)
    assert own == Source(
        MIRROR, ("bookworm", "bookworm-updates"), ("main",), ("signed-by=/usr/share/keyrings/own.gpg",)
    )
    assert vendor.components == ("stable",)
    assert (key.uri, key.options) == ("http://key.test/debian", ())


def test_every_file_of_apt_is_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://a.test/debian bookworm main\n")
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "b.list").write_text("deb http://b.test/debian bookworm main\n")
    (folder / "c.sources").write_text("URIs: http://c.test/debian\nSuites: bookworm\nComponents: main\n")
    (folder / "d.list.disabled").write_text("deb http://d.test/debian bookworm main\n")
    assert [source.uri[7] for source in machine_sources(tmp_path)] == ["a", "b", "c"]
    assert machine_sources(tmp_path / "nothing") == []


def test_only_the_distributions_own_archive_is_asked_for_newer_releases() -> None:
    found = archive(BOOKWORM, parse_deb822(DEB822))
    assert found.distribution == "debian"
    assert found.lines[:3] == tuple(
        f"deb-src [signed-by=/usr/share/keyrings/own.gpg] {MIRROR} {suite} main" for suite in ("trixie", "forky", "sid")
    )
    assert not any("vendor" in line or "off.test" in line for line in found.lines)
    assert not any("cdrom" in line for line in archive(BOOKWORM, parse_list(ONE_LINE)).lines)


def test_ubuntu_and_what_descends_from_it() -> None:
    sources = [Source("http://mirror.test/ubuntu", ("noble", "noble-updates"), ("main", "universe"))]
    for release in (
        "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n",
        'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n',
    ):
        found = archive(release, sources)
        assert found.distribution == "ubuntu"
        assert "deb-src http://mirror.test/ubuntu questing main universe" in found.lines


def test_elsewhere_there_is_no_archive() -> None:
    with pytest.raises(Unavailable, match="fedora"):
        archive("ID=fedora\n", [])
    with pytest.raises(Unavailable, match="unknown"):
        archive("", [])
    with pytest.raises(Unavailable, match="name no debian archive"):
        archive(BOOKWORM, [Source("http://vendor.test", ("bookworm",), ("stable",))])


def test_versions_are_tried_newest_first_and_candidates_last() -> None:
    listed = ["3.13.5-2+deb13u5", "3.14.0~rc2-1", "3.14.10-1", "3.14.9-1", "3.14.9-1"]
    assert newest_first(listed) == ["3.14.10-1", "3.14.9-1", "3.13.5-2+deb13u5", "3.14.0~rc2-1"]
    assert upstream("3.13.5-2+deb13u5") == "3.13.5"


def test_the_older_package_only_where_a_stand_in_does() -> None:
    assert packages(Request.parse("3.14t"), allow_older=True) == ("python3.14", "python3.13")
    assert packages(Request.parse("3.14t"), allow_older=False) == ("python3.14",)
    assert packages(Request.parse("3.13t"), allow_older=True) == ("python3.13",)


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = source_build.lacking_line(source_build.lacking())
    assert line.startswith("the build lacks cc, make, ")
    assert "apt install gcc make" in line
    assert "zlib1g-dev libffi-dev libssl-dev" in line


def test_missing_headers_are_named(program: Program) -> None:
    program("make", "")
    program("cc", 'case $(cat "$2") in *ffi.h*) exit 1 ;; esac')
    assert source_build.lacking() == [("ffi.h", "libffi-dev")]


# An archive that lists two versions of 3.14 and serves neither, and one of 3.13; its CPython "builds" in a moment.
_APT_GET = """
case "$1 $*" in
    "update "*) mkdir -p lists; touch lists/mirror_Sources; cp "$APT_CONFIG" {seen} ;;
    *python3.13=3.13.5-2+deb13u5) cp {tarball} python3.13_3.13.5.orig.tar.gz ;;
    *) echo "E: Failed to fetch … 404  Not Found" >&2; exit 100 ;;
esac
"""
_APT_CACHE = """
[ "$3" = python3.14 ] && printf 'Package: python3.14\\nVersion: 3.14.10-1\\n\\nVersion: 3.14.9-1\\n'
[ "$3" = python3.13 ] && printf 'Version: 3.13.5-2+deb13u5\\n'
true
"""
_APT_CONFIG = """
echo 'Acquire::http::Proxy "http://proxy.test:3128";'
echo 'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin";'
"""
_CONFIGURE = """#!/bin/sh
echo "configured $*"
for option; do case $option in --prefix=*) prefix=${{option#--prefix=}} ;; esac; done
cat > Makefile <<END
all:
	@echo made
install:
	@mkdir -p \\$(DESTDIR)$prefix/bin
	@printf '#!/bin/sh\\nexec {python} "\\$\\$@"\\n' > \\$(DESTDIR)$prefix/bin/python3
	@chmod +x \\$(DESTDIR)$prefix/bin/python3
END
"""


@pytest.fixture
def served(tmp_path: Path, program: Program) -> Path:
    """Puts such an archive on PATH; returns where the configuration that apt-get saw is kept."""
    tarball = tmp_path / "orig.tar.gz"
    with tarfile.open(tarball, "w:gz") as file:
        body = _CONFIGURE.format(python=sys.executable).encode()
        member = tarfile.TarInfo("Python-3.13.5/configure")
        member.size, member.mode = len(body), 0o755
        file.addfile(member, io.BytesIO(body))
    seen = tmp_path / "apt.conf.seen"
    program("apt-get", _APT_GET.format(seen=seen, tarball=tarball))
    program("apt-cache", _APT_CACHE)
    program("apt-config", _APT_CONFIG)
    return seen


ARCHIVE = Archive("debian", (f"deb-src {MIRROR} sid main",))


def test_the_first_version_whose_files_are_there_is_built_once(served: Path, places: Places) -> None:
    said: list[str] = []
    facts = source_build.build(places, ARCHIVE, Request.parse("3.14t"), said.append, allow_older=True)
    assert sum("404 Not Found" in line for line in said) == 2
    assert facts["source"] == "Debian source build"
    (prefix,) = places.interpreters.iterdir()
    assert prefix.name.startswith("3.13.5t-")
    log = (places.cache / f"build-{prefix.name}.log").read_text()
    assert f"--prefix={prefix}" in log
    assert "--disable-gil" in log
    assert "--enable-optimizations" not in log
    assert list(places.cache.glob("build-*/")) == []

    again: list[str] = []
    source_build.build(places, ARCHIVE, Request.parse("3.14t"), again.append, allow_older=True)
    assert not any("building" in line for line in again)

    source_build.build(places, ARCHIVE, Request.parse("3.14"), said.append, allow_older=True)
    assert any(path.name.startswith("3.13.5-") for path in places.interpreters.iterdir())


def test_apt_runs_on_a_configuration_of_its_own(served: Path, places: Places) -> None:
    source_build.build(places, ARCHIVE, Request.parse("3.13"), print, allow_older=True)
    configuration = served.read_text()
    assert 'Acquire::http::Proxy "http://proxy.test:3128";' in configuration
    assert "Post-Invoke" not in configuration
    for name in ("Dir::State", "Dir::Cache", "Dir::Etc::sourcelist", "Dir::Etc::sourceparts", "Dir::Etc::parts"):
        assert f'{name} "{places.cache}/' in configuration


def test_nothing_to_download_says_which_versions_were_listed(served: Path, places: Places) -> None:
    with pytest.raises(Unavailable, match=r"python3\.14 3\.14\.10-1: 404 Not Found; python3\.14 3\.14\.9-1: 404"):
        source_build.build(places, ARCHIVE, Request.parse("3.14"), print, allow_older=False)


def test_a_failed_stage_names_its_log_and_leaves_nothing_in_the_cache(
    served: Path, places: Places, program: Program
) -> None:
    program("make", "echo broken; exit 3")
    with pytest.raises(Unavailable, match=r"make of CPython 3\.13\.5-\w+ failed .*log: "):
        source_build.build(places, ARCHIVE, Request.parse("3.13"), print, allow_older=True)
    assert list(places.interpreters.iterdir()) == []
