"""What a package is made of reads the same in every checkout, and differs where its files do."""

import json
import mmap
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from experiment.host.contents import _libpython, contents, origin

BY_PIP = """../../../bin/h2,sha256=one-checkout,210
h2/__init__.py,sha256=aaa,1
h2/__pycache__/__init__.cpython-314.pyc,,
h2-4.3.0.dist-info/INSTALLER,sha256=pip,4
h2-4.3.0.dist-info/METADATA,sha256=bbb,2
h2-4.3.0.dist-info/REQUESTED,sha256=none,0
h2-4.3.0.dist-info/RECORD,,
"""
BY_UV = """h2-4.3.0.dist-info/METADATA,sha256=bbb,2
h2-4.3.0.dist-info/INSTALLER,sha256=uv,2
h2-4.3.0.dist-info/RECORD,,
h2-4.3.0.dist-info/direct_url.json,sha256=place,60
h2-4.3.0.dist-info/uv_cache.json,sha256=when,60
../../../bin/h2,sha256=another-checkout,214
"h2/__init__.py",sha256=aaa,1
"""


def installed(folder: Path, record: str | None, url: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is found in a real environment with one package laid out in it."""
    venv.create(folder, symlinks=True)
    info = next(folder.glob("lib/python*/site-packages")) / "h2-4.3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: h2\nVersion: 4.3.0\n")
    if record is not None:
        (info / "RECORD").write_text(record)
    if url is not None:
        (info / "direct_url.json").write_text(json.dumps(url))
    return contents(folder / "bin" / "python")


def test_a_package_is_the_same_whatever_installed_it_and_wherever(tmp_path: Path) -> None:
    url = {"url": f"file://{tmp_path}/h2.whl", "archive_info": {}}
    mine, yours = installed(tmp_path / "a", BY_PIP), installed(tmp_path / "other/place", BY_UV, url)
    assert mine["packages"] == yours["packages"] == {"h2": "4.3.0"}
    (whence, digest), (elsewhere, same) = (one["package_contents"]["h2"].rsplit(" ", 1) for one in (mine, yours))
    assert (whence, elsewhere) == ("index", "local file")
    assert digest == same
    assert len(digest) == 12
    assert str(tmp_path) not in json.dumps([mine, yours])


def test_a_package_of_the_same_version_with_another_file_is_another(tmp_path: Path) -> None:
    mine, theirs = installed(tmp_path / "a", BY_PIP), installed(tmp_path / "b", BY_PIP.replace("aaa", "aab"))
    assert mine["package_contents"] != theirs["package_contents"]
    assert installed(tmp_path / "c", None)["package_contents"] == {"h2": "index no RECORD"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "index"),
        ({"url": "file:///mine/h2", "dir_info": {}}, "directory"),
        ({"url": "file:///mine/h2", "dir_info": {"editable": True}}, "editable"),
        ({"url": "https://mine.test/h2.whl", "archive_info": {}}, "url"),
        (
            {"url": "https://mine.test/h2", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}},
            "git 0123456789ab",
        ),
    ],
)
def test_where_a_package_came_from_is_said_without_its_place(url: dict[str, Any] | None, said: str) -> None:
    assert origin(None if url is None else json.dumps(url)) == said


def test_a_shared_libpython_is_the_one_that_is_mapped(tmp_path: Path) -> None:
    if _libpython() is not None:
        pytest.skip("this interpreter has one")
    library = tmp_path / "libpython3.99.so.1.0"
    library.write_bytes(b"x")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert _libpython() == str(library)
    assert _libpython() is None


def test_the_binary_is_hashed_as_it_runs(tmp_path: Path) -> None:
    here, linked = contents(Path(sys.executable)), installed(tmp_path / "a", BY_PIP)
    assert here["binary_sha256"] == linked["binary_sha256"]
    assert len(here["binary_sha256"]) == 64
