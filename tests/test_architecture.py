"""The house as it stands has no forbidden arrow, and each kind of them would be seen."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.architecture import MOST_MODULES, PACKAGES, PURE, Module, read_module, read_tree, violations

ROOT = Path(__file__).parents[1]

OFFENCES: dict[str, tuple[str, str, str]] = {
    # Gateway: no other folder, nothing but a few pure modules, no way around.
    "gateway → variants": ("gateway/x.py", "from variants.shared import relay", "import variants"),
    "gateway → simulator": ("gateway/x.py", "import simulator.stub", "import simulator.stub"),
    "gateway → loadgen": ("gateway/x.py", "def f() -> None:\n    import loadgen.frames", "import loadgen"),
    "gateway → experiment": ("gateway/x.py", "import experiment", "import experiment"),
    "gateway → asyncio": ("gateway/x.py", "import asyncio", "may not import asyncio"),
    "gateway → socket": ("gateway/x.py", "from socket import socket", "may not import socket"),
    "gateway → threading": ("gateway/x.py", "import threading as t", "may not import threading"),
    "gateway → time": ("gateway/x.py", "import time", "may not import time"),
    "gateway → random": ("gateway/x.py", "import random", "may not import random"),
    "gateway → os": ("gateway/x.py", "from os import environ", "may not import os"),
    "gateway → fastapi": ("gateway/x.py", "import fastapi", "may not import fastapi"),
    "gateway → types only": (
        "gateway/x.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
        "may not import asyncio",
    ),
    "gateway → importlib": ("gateway/x.py", "from importlib import import_module", "may not import importlib"),
    "gateway → __import__": ("gateway/x.py", "t = __import__('ti' + 'me')", "must not use __import__"),
    "gateway → builtins": ("gateway/x.py", "import builtins", "may not import builtins"),
    "gateway → exec": ("gateway/x.py", "exec('import time')", "must not use exec"),
    "gateway → open": ("gateway/x.py", "open('x')", "must not use open"),
    # Variants.
    "variant → variant": ("variants/other/x.py", "from variants.asgi import app", "import variants.asgi"),
    "variant → variant, from the package": ("variants/x.py", "from variants import asgi", "import variants.asgi"),
    "variant → variant, relative": ("variants/other/x.py", "from ..asgi import app", "import variants.asgi"),
    "shared → variant": ("variants/shared/x.py", "import variants.asgi.app", "import variants.asgi"),
    "variants → experiment": ("variants/shared/x.py", "from experiment import tables", "import experiment"),
    "variants → loadgen": ("variants/shared/x.py", "import loadgen", "import loadgen"),
    "variants → profiles": ("variants/shared/x.py", "import profiles", "import profiles"),
    "variants → notebooks": ("variants/shared/x.py", "import notebooks", "import notebooks"),
    # Load and simulator meet the gateway over the wire only.
    "simulator → gateway": ("simulator/x.py", "from gateway.settings import FRAME_BYTES", "import gateway"),
    "simulator → variants": ("simulator/x.py", "import variants.shared.inference", "import variants"),
    "simulator → experiment": ("simulator/x.py", "import experiment.ask.schema", "import experiment"),
    "simulator → loadgen": ("simulator/x.py", "from loadgen.frames import audio_at", "import loadgen"),
    "loadgen → gateway": ("loadgen/x.py", "from gateway import FRAME_BYTES", "import gateway"),
    "loadgen → gateway, by name": ("loadgen/x.py", "import importlib\nimportlib.import_module('gateway')", "gateway"),
    "loadgen → variants": ("loadgen/x.py", "import variants", "import variants"),
    "loadgen → simulator's server": ("loadgen/x.py", "from simulator import server", "import simulator.server"),
    # One reader of experiments.toml.
    "tomllib": ("experiment/x.py", "import tomllib", "only experiment.ask.c"),
    "EXPERIMENTS": ("experiment/x.py", "from experiment.ask.config import EXPERIMENTS", "only experiment.ask.c"),
    "config.EXPERIMENTS": (
        "experiment/x.py",
        "from experiment.ask import config\nconfig.EXPERIMENTS",
        "only experiment.a",
    ),
    "a path to it": ("loadgen/x.py", "def f(p):\n    return p / 'experiments.toml'", "only experiment.ask.c"),
    # Rooms: arrows point one way, and enter by the door.
    "setup → host": ("experiment/setup/x.py", "from experiment.host import Run", "setup must not import"),
    "host → ask": ("experiment/host/x.py", "from experiment.ask import Plan", "host must not import"),
    "ask → store": ("experiment/ask/x.py", "from experiment.store import read_run", "ask must not import"),
    "search → store": ("experiment/search/x.py", "from experiment.store import Point", "search must not import"),
    "store → search": ("experiment/store/x.py", "from experiment.search import bracket", "store must not import"),
    "store → report": ("experiment/store/x.py", "from experiment.report import text", "store must not import"),
    "run → report": ("experiment/run/x.py", "from experiment.report import text", "run must not import"),
    "run → bench": ("experiment/run/x.py", "import experiment.bench.suite", "run must not import"),
    "report → run": ("experiment/report/x.py", "from experiment.run import Display", "report must not import"),
    "report → bench": ("experiment/report/x.py", "import experiment.bench.meter", "report must not import"),
    "bench → report": ("experiment/bench/x.py", "from experiment.report import markdown", "bench must not import"),
    "run → cli": ("experiment/run/x.py", "from experiment.cli import main", "run must not import"),
    "past a door": ("experiment/run/x.py", "from experiment.store.runs import read_run", "is not a door"),
    "past a door, from outside": ("profiles/x.py", "from experiment.run.point import run_point", "is not a door"),
    "past bench's door": ("experiment/cli/x.py", "from experiment.bench.meter import Meter", "is not a door"),
    "terms → a room": ("experiment/terms.py", "from experiment.ask import Slo", "below every room"),
    "profilers → forensics": (
        "profiles/profilers/x.py",
        "from profiles.forensics.capture import capture",
        "profilers must not import",
    ),
    "forensics → cliff": ("profiles/forensics/x.py", "import profiles.cliff.hunt", "forensics must not import"),
    # Notebooks, tests.
    "experiment → notebooks": ("experiment/x.py", "import notebooks.cliff", "import notebooks"),
    "tests → notebooks": ("tests/x.py", "import notebooks", "import notebooks"),
    "experiment → tests": ("experiment/x.py", "from tests import conformance", "import tests"),
    # Shape of a module.
    "long module": ("loadgen/x.py", "x = 1\n" * 401, "split by 400"),
    "no docstring": ("loadgen/x.py", "x = 1", "no docstring"),
    "__init__ with code": ("profiles/__init__.py", "def f() -> None: ...", "only re-exports, got FunctionDef"),
}


class Copy:
    """The sources alone, to add an offence to."""

    def __init__(self, root: Path) -> None:
        for package in PACKAGES:
            if (ROOT / package).is_dir():
                shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        self.root = root
        self.modules: dict[str, Module] = read_tree(root)
        self.before = violations(self.modules)

    def added(self, path: str, source: str) -> list[str]:
        """What the checker finds more once `source` stands at the end of `path`."""
        file = self.root / path
        kept = file.read_text(encoding="utf-8") if file.exists() else None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((kept or "") + source + "\n", encoding="utf-8")
        try:
            module = read_module(self.root, file)
            return [v for v in violations({**self.modules, module.name: module}) if v not in self.before]
        finally:
            if kept is None:
                file.unlink()
            else:
                file.write_text(kept, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("tree"))


def test_the_house_stands() -> None:
    assert violations(read_tree(ROOT)) == []


@pytest.mark.parametrize(("path", "source", "expected"), OFFENCES.values(), ids=OFFENCES.keys())
def test_an_offence_is_seen(copy: Copy, path: str, source: str, expected: str) -> None:
    assert [v for v in copy.added(path, source) if v.startswith(f"{path}:") and expected in v]


@pytest.mark.parametrize("name", PURE)
@pytest.mark.parametrize("source", ["import asyncio", "from time import sleep", "import anyio", "open('x')"])
def test_io_in_a_pure_module_is_seen(copy: Copy, name: str, source: str) -> None:
    path = f"{name.replace('.', '/')}.py"
    assert (copy.root / path).exists()
    assert [v for v in copy.added(path, source) if v.startswith(f"{path}:") and name in v]


@pytest.mark.parametrize(
    ("name", "neighbour"),
    [
        ("simulator.stub", "simulator.server"),
        ("loadgen.schedule", "loadgen.worker"),
        ("loadgen.ledger", "loadgen.connection"),
        ("experiment.run.verdict", "experiment.run.stand"),
    ],
)
def test_an_io_neighbour_of_a_pure_module_is_seen(copy: Copy, name: str, neighbour: str) -> None:
    found = copy.added(f"{name.replace('.', '/')}.py", f"import {neighbour}")
    assert [v for v in found if f"{name} is pure" in v and f"{name} → " in v and neighbour in v]


def test_a_circle_is_seen(copy: Copy) -> None:
    found = copy.added("loadgen/schedule.py", "from loadgen.samples import merge")
    assert [v for v in found if "a circle of files" in v and "loadgen.samples, loadgen.schedule" in v]
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from experiment.run import run_point"
    assert [v for v in copy.added("experiment/run/launch.py", for_types) if "a circle of files" in v]


def test_a_crowd_is_seen(copy: Copy) -> None:
    folder = copy.root / "simulator"
    for number in range(MOST_MODULES):
        (folder / f"more_{number}.py").write_text('"""More."""\n')
    try:
        assert [v for v in violations(read_tree(copy.root)) if "simulator" in v and "modules side by side" in v]
    finally:
        for number in range(MOST_MODULES):
            (folder / f"more_{number}.py").unlink()


def test_what_is_allowed_is_not_seen(copy: Copy) -> None:
    for path, source in [
        ("gateway/x.py", '"""Doc."""\nimport json\nfrom gateway.settings import FRAME_BYTES'),
        ("variants/other/x.py", '"""Doc."""\nfrom variants.shared import relay\nfrom variants.other import y'),
        ("variants/other/x.py", '"""Doc."""\nfrom .y import z\nfrom gateway import Session\nimport asyncio'),
        ("loadgen/x.py", '"""Doc."""\nfrom simulator.stub import predict'),
        ("experiment/x.py", '"""Doc."""\nMESSAGE = f"unknown; add a row to " f"experiments.toml"'),
        ("experiment/x.py", '"""Reads experiments.toml? No."""\nHELP = "Row of experiments.toml"'),
    ]:
        assert copy.added(path, source) == []


def test_the_tree_is_read_whole() -> None:
    modules = read_tree(ROOT)
    assert set(PURE) <= modules.keys()
    assert {"gateway.session", "variants.shared.relay", "variants.asgi", "experiment.ask.config"} <= modules.keys()
    assert "gateway.buffer.FrameBuffer" in modules["gateway.session"].imports


# --- committed files: no address of a package index, no path of one machine ---

INDEX_OPTION = re.compile(r"^\s*--(extra-)?(index-url|find-links|trusted-host)\b", re.MULTILINE)
ADDRESS = re.compile(r"https?://[^\s'\"<>()`\\]+")
MACHINE_PATH = re.compile(r"(?<![\w./$}~-])/(?:" + "|".join(("work", "root", r"home/\w+", r"Users/\w+")) + r")/[\w.]")
INDEX_SIGNS = ("pypi", "pythonhosted", "/simple", "devpi", "artifactory", "nexus")
RESERVED = (".test", ".example", ".invalid")
"""Names that no machine has (RFC 2606): tests may use them."""


def committed() -> Iterator[tuple[str, str]]:
    """Path and text of every tracked file."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout, to know which files are committed")
    listed = subprocess.run([git, "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or deleted and not yet committed


def index_addresses(text: str) -> list[str]:
    """What in `text` says where packages come from."""
    configured = {urlsplit(os.environ.get(name, "")).hostname for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX")}
    found = [match.group().strip() for match in INDEX_OPTION.finditer(text)]
    for address in ADDRESS.findall(text):
        try:
            host = urlsplit(address).hostname or ""
        except ValueError:
            continue
        if host.endswith(RESERVED):
            continue
        if host in configured or any(sign in address for sign in INDEX_SIGNS):
            found.append(address)
    return found


def test_no_committed_file_says_where_packages_come_from() -> None:
    assert {name: found for name, text in committed() if (found := index_addresses(text))} == {}


def test_no_committed_file_holds_a_path_of_one_machine() -> None:
    found = {name: match.group() for name, text in committed() if (match := MACHINE_PATH.search(text))}
    assert found == {}


def test_the_two_checks_see_what_they_should() -> None:
    slash = "/"
    assert index_addresses("--index-" + "url x")
    assert index_addresses("https:" + "//files.python" + "hosted.org/packages/x.whl")
    assert index_addresses("index = https:" + "//mirror.local/root/sim" + "ple/")
    assert not index_addresses("https://mirror.test/sim" + "ple and https://docs.python.org/3/")
    for path in ("work/main", "root/.venv", "home/ann/x", "Users/ann/x"):
        assert MACHINE_PATH.search(f"in '{slash}{path}'")
        assert MACHINE_PATH.search(f"{slash}{path}")
    for harmless in ("a/work/b", "/usr/bin/env", "network/root/x", "$HOME/work/x", "https://x.test/root/y"):
        assert not MACHINE_PATH.search(harmless)
