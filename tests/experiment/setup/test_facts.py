"""Facts are learned by running the interpreter, and a stand-in never passes for what was asked."""

import os
import platform
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from experiment.setup.facts import Interpreter, Request, describe, signature, without_paths
from experiment.setup.failures import Unavailable
from experiment.store.merge import IDENTITY

from .conftest import HERE, Program


def made_up(version: str, *, free_threaded: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "implementation": "cpython",
        "debug": False,
        "free_threaded": free_threaded,
        "version": version,
        "version_info": [int(part) for part in version.split(".")],
        "branch": None,
        "commit": None,
        "jit_enabled": None,
        "executable": f"/opt/{version}/bin/python3",
        "base_executable": f"/opt/{version}/bin/python3",
        **more,
    }


def test_the_running_python_is_described_as_it_is() -> None:
    facts = describe(sys.executable)
    assert facts["version"] == platform.python_version()
    assert facts["compiler"] == platform.python_compiler()
    assert facts["implementation"] == "cpython"
    assert facts["free_threaded"] is False
    assert facts["gil_enabled"] is True
    assert set(IDENTITY) - facts.keys() == {"binary_sha256", "libpython_sha256"}
    assert Request.parse(HERE).mismatch(facts) is None
    assert "GIL build" in (Request.parse(f"{HERE}t").mismatch(facts) or "")


def test_no_fact_that_runs_are_compared_by_names_a_place_of_this_machine() -> None:
    facts = describe(sys.executable)
    words = " ".join(str(facts.get(key)) for key in IDENTITY).split()
    assert [word for word in words if word.startswith("/") or "=/" in word or sys.base_prefix in word] == []


def test_a_build_is_described_the_same_wherever_it_was_made() -> None:
    asked = (
        "'--prefix={0}' '--with-openssl={0}/deps' --enable-optimizations 'CC={0}/bin/clang' 'CFLAGS=-O3 -I{0}/include'"
    )
    flags = "-O3 -ffile-prefix-map={0}=. -I{0}/include -I./Include -Wl,-rpath,{0}/lib -fprofile-use={0}/code.profdata"
    for options, kept in ((asked, "--enable-optimizations CFLAGS=-O3"), (flags, "-O3 -I./Include")):
        assert without_paths(options.format("/opt/mine")) == without_paths(options.format("/usr/yours")) == kept
    pyenv = "--enable-shared LDFLAGS=-L/opt/lib 'CFLAGS=-I/opt/include -O3 -march=native' CC=clang -Wl,-L/a,-z=now X="
    assert without_paths(pyenv) == "--enable-shared CFLAGS=-O3 -march=native CC=clang X="
    assert without_paths("--with-it's=1 --prefix=/x") == "--with-it's=1"


def test_python_variables_of_the_user_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    assert describe(sys.executable)["version"] == platform.python_version()


def test_what_does_not_run_is_unavailable(tmp_path: Path, program: Program) -> None:
    with pytest.raises(Unavailable, match="does not run"):
        describe(tmp_path / "nothing")
    shim = program("python3.14", "echo 'pyenv: python3.14: command not found' >&2; exit 127")
    with pytest.raises(Unavailable, match=r"127: pyenv: python3\.14"):
        describe(shim)
    with pytest.raises(Unavailable, match="no Python 3"):
        describe(program("python2", "echo hello"))


@pytest.mark.parametrize(
    ("request_", "facts", "exact", "with_older"),
    [
        ("3.14", made_up("3.14.7"), True, True),
        ("3.14", made_up("3.14.7", free_threaded=True), False, False),
        ("3.14t", made_up("3.14.7", free_threaded=True), True, True),
        ("3.14t", made_up("3.14.7"), False, False),
        ("3.14t", made_up("3.13.5", free_threaded=True), False, True),
        ("3.14", made_up("3.13.5"), False, True),
        ("3.14", made_up("3.11.2"), False, True),
        ("3.14", made_up("3.10.13"), False, False),
        ("3.14", made_up("3.15.0"), False, False),
        ("3.14", made_up("3.14.1", implementation="pypy"), False, False),
        ("3.14", made_up("3.14.1", debug=True), False, False),
    ],
)
def test_what_passes(request_: str, facts: dict[str, Any], exact: bool, with_older: bool) -> None:
    request = Request.parse(request_)
    assert (request.mismatch(facts) is None) is exact
    assert (request.mismatch(facts, allow_older=True) is None) is with_older


@pytest.mark.parametrize("text", ["3", "python3.14", "3.14.1", "2.7", "3.14tt", ""])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'"3\.14" or "3\.14t"'):
        Request.parse(text)


def test_a_stand_in_tells_its_own_version() -> None:
    interpreter = Interpreter.from_facts(
        Request.parse("3.14t"), made_up("3.13.5", free_threaded=True), "Debian source build"
    )
    assert interpreter.stand_in is True
    assert interpreter.tag == "3.13.5t"
    assert interpreter.requested == "3.14t"
    exact = Interpreter.from_facts(Request.parse("3.14"), made_up("3.14.7"), "uv python find")
    assert exact.stand_in is False
    assert exact.tag == "3.14.7"


def test_the_signature_follows_the_file(tmp_path: Path) -> None:
    file = tmp_path / "python3"
    assert signature(file) is None
    file.write_text("one")
    first = signature(file)
    assert first is not None
    assert first == signature(file)
    os.utime(file, ns=(1, 1))
    assert signature(file) != first


def test_versions_sort_as_they_are_released() -> None:
    released = ["3.13.14", "3.14.0a7", "3.14.0b1", "3.14.0rc2", "3.14.0", "3.14.9", "3.14.10"]
    found = [
        Interpreter.from_facts(Request.parse("3.14"), made_up("3.14.0") | {"version": one}, "") for one in released
    ]
    assert all(one.age < later.age for one, later in pairwise(found))
    assert [one.series for one in found[:2]] == ["3.13", "3.14"]


@pytest.mark.parametrize(
    ("facts", "label"),
    [
        ({}, "3.15.2t"),
        ({"branch": "tags/v3.15.2", "commit": "0123456789ab"}, "3.15.2t"),
        ({"branch": "tags/v3.15.2-dirty", "commit": "0123456789ab"}, "3.15.2t tags/v3.15.2-dirty@0123456"),
        ({"branch": "heads/slow", "commit": "0123456789ab"}, "3.15.2t slow@0123456"),
        ({"branch": "main", "commit": "1a2b3c4d5e6f", "jit_enabled": True}, "3.15.2t main@1a2b3c4 jit"),
        ({"branch": "", "commit": "1a2b3c4d5e6f", "debug": True}, "3.15.2t commit@1a2b3c4 debug"),
    ],
)
def test_a_build_is_labelled_by_what_it_is(facts: dict[str, Any], label: str) -> None:
    made = made_up("3.15.2", free_threaded=True, **facts)
    assert Interpreter.from_facts(Request.of(made), made, "already there").label == label
