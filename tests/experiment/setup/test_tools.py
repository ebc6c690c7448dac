"""Which uv is used, and how pip's index reaches it."""

from pathlib import Path

import pytest

from experiment.setup.places import Places
from experiment.setup.tools import index_options, pip_settings, present_uv, uv_environment, uv_settings

from .conftest import Program

PIP = """global.cert='/etc/own.pem'
global.index-url='https://one.test/simple'
:env:.index-url='https://two.test/simple'
install.extra-index-url='\\nhttps://a.test\\nhttps://b.test'
global.timeout='60'
download.index-url='https://not.test'
"""


def test_pips_index_is_uvs_index() -> None:
    assert uv_settings(pip_settings(PIP)) == {
        "SSL_CERT_FILE": "/etc/own.pem",
        "UV_DEFAULT_INDEX": "https://two.test/simple",
        "UV_INDEX": "https://a.test https://b.test",
    }
    assert pip_settings("") == {}
    assert pip_settings("global.index-url=not quoted") == {}


def test_pips_wheelhouse_and_trusted_hosts_are_uvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = f"{tmp_path} /no/such/folder https://wheels.test/all"
    assert uv_settings({"find-links": links, "trusted-host": "a.test b.test:81"}) == {
        "UV_FIND_LINKS": f"{tmp_path},https://wheels.test/all",
        "UV_INSECURE_HOST": "a.test b.test:81",
    }
    assert uv_settings({"find-links": "/no/such/folder"}) == {}
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for value, told in (("1", ["--no-index"]), ("true", ["--no-index"]), ("0", [])):
        monkeypatch.setenv("PIP_NO_INDEX", value)
        assert index_options() == told
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.test/simple")
    assert index_options() == []


def test_what_uv_was_told_itself_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.test/simple")
    assert uv_environment()["UV_DEFAULT_INDEX"] == "https://pip.test/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.test/simple")
    assert uv_environment()["UV_DEFAULT_INDEX"] == "https://uv.test/simple"


def test_uv_from_path_if_it_is_not_too_old(places: Places, program: Program) -> None:
    uv = program("uv", "echo 'uv 0.4.30 (old)'")
    assert present_uv(places) is None
    program("uv", "echo 'uv 0.13.9 (new)'")
    assert present_uv(places) == uv
    program("uv", "exit 1")
    assert present_uv(places) is None
    own = places.tools / "bin" / "uv"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho 'uv 0.13.9'\n")
    own.chmod(0o755)
    assert present_uv(places) == own


def test_uv_is_locked_like_everything_else() -> None:
    lock = Path(__file__).parents[3] / "requirements" / "tools.txt"
    lines = lock.read_text().splitlines()
    assert lines[0].startswith("uv==")
    assert any("--hash=sha256:" in line for line in lines)
