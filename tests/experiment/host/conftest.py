"""Fixtures shared by the tests of the host side: real groups where they can be made, and scripts to run in them."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiment.host import CgroupHost, Command, Limits, Role, RoleGroup, detect, make_group
from experiment.host.hierarchies import Tree
from experiment.host.procfs import ProcessId, read_stat

MakeGroup = Callable[[str, Limits], RoleGroup]

PARENT_AND_GRANDCHILD = """
    import os, subprocess, sys, time
    # A middle process starts a sleeper and goes at once: the sleeper outlives its parent, and holds on to stdout.
    middle = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1]]).pid, flush=True)"
    sleeper = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
    subprocess.run([sys.executable, "-c", middle, sleeper], check=True)
    print("ready", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cgroup_host() -> CgroupHost:
    host = detect()
    if not {"cpu", "memory"} <= host.controllers:
        pytest.skip(host.explain())
    return host


@pytest.fixture(scope="session")
def no_cgroups() -> CgroupHost:
    return CgroupHost("none", (), ("taken away for this test",), ())


@pytest.fixture(params=["cgroup", "unified-without-controllers", "affinity"])
def any_host(request: pytest.FixtureRequest) -> CgroupHost:
    """Each way of holding a role together that this machine can really do."""
    if request.param == "cgroup":
        host: CgroupHost = request.getfixturevalue("cgroup_host")
    elif request.param == "affinity":
        host = request.getfixturevalue("no_cgroups")
    else:
        mount = next(
            (
                m
                for m in detect().mounts
                if os.access(m / "cgroup.procs", os.W_OK) and (m / "cgroup.subtree_control").exists()
            ),
            None,
        )
        if mount is None:
            pytest.skip("no cgroup v2 hierarchy that can be written")
        host = CgroupHost("v2", (Tree(2, mount, mount, frozenset()),), (), (mount,))
    return host


@pytest.fixture
def make(any_host: CgroupHost) -> Iterator[MakeGroup]:
    yield from making(any_host)


@pytest.fixture
def make_real(cgroup_host: CgroupHost) -> Iterator[MakeGroup]:
    yield from making(cgroup_host)


def making(host: CgroupHost) -> Iterator[MakeGroup]:
    """Groups that are ended with the test, whatever it does."""
    made: list[RoleGroup] = []

    def make(role: str, limits: Limits) -> RoleGroup:
        made.append(make_group(host, ProcessId.current(), role, limits))
        return made[-1]

    yield make
    for group in made:
        group.kill()


def script(tmp_path: Path, code: str, *, pipe: bool = False, name: str = "role") -> Command:
    return Command([sys.executable, "-c", textwrap.dedent(code)], tmp_path, tmp_path / f"{name}.log", pipe_stdout=pipe)


async def first_lines(role: Role, count: int) -> list[str]:
    found: list[str] = []
    async for line in role.lines():
        found.append(line)
        if len(found) == count:
            break
    return found


def is_running(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and not stat.is_dead


def eventually(condition: Callable[[], object], within_s: float = 10.0) -> bool:
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True
