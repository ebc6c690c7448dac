"""A run that was killed is cleared up by the next one; a run that lives, and all else, is left alone."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiment.host import CgroupHost, Limits, Run, clean_leftovers
from experiment.host.procfs import ProcessId, read_stat
from tests.experiment.host.conftest import PARENT_AND_GRANDCHILD, eventually, is_running, script

CHECKOUT = Path(__file__).parents[3]

RUNNER = """
    import sys, time
    from pathlib import Path
    from experiment.host import CgroupHost, Command, Limits, Run, detect
    host = detect() if sys.argv[2] == "cgroup" else CgroupHost("none", (), ("taken away",), ())
    run = Run(Path(sys.argv[1]), host)
    role = run.start(Command([sys.executable, "-c", sys.argv[3]], Path("."), Path(sys.argv[1], "gateway.log")),
                     run.group("gateway", Limits()))
    print(run.id, role.pid, flush=True)
    time.sleep(300)
"""


def cleaned(results: Path, host: CgroupHost, runner: int) -> list[str]:
    """What is said of one runner: this machine may have leftovers of others' runs too."""
    words = (f"runner {runner}, gone", f"{runner}-")
    return [sentence for sentence in clean_leftovers(results, host) if any(word in sentence for word in words)]


class FakeRunner:
    """A real process that holds a role with a grandchild, as a runner does."""

    def __init__(self, results: Path, kind: str) -> None:
        results.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUNNER), str(results), kind, textwrap.dedent(PARENT_AND_GRANDCHILD)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        name, main = self.process.stdout.readline().split()
        self.name, self.main = name, int(main)
        log = results / "gateway.log"
        assert eventually(lambda: log.exists() and "ready" in log.read_text())
        self.sleeper = int(log.read_text().split()[0])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(params=["cgroup", "affinity"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "cgroup":
        request.getfixturevalue("cgroup_host")
    return str(request.param)


@pytest.fixture
def host(request: pytest.FixtureRequest, kind: str) -> CgroupHost:
    found: CgroupHost = request.getfixturevalue("cgroup_host" if kind == "cgroup" else "no_cgroups")
    return found


@pytest.fixture
def runner(tmp_path: Path, kind: str, host: CgroupHost) -> Iterator[FakeRunner]:
    fake = FakeRunner(tmp_path / "results", kind)
    yield fake
    if fake.process.poll() is None:
        fake.kill()
    clean_leftovers(tmp_path / "results", host)


def test_a_killed_runner_is_cleared_up_and_said(tmp_path: Path, runner: FakeRunner, host: CgroupHost) -> None:
    runner.kill()
    assert is_running(runner.main)
    assert is_running(runner.sleeper)
    (sentence,) = cleaned(tmp_path / "results", host, runner.process.pid)
    assert f"runner {runner.process.pid}, gone" in sentence
    assert "ended 2 processes" in sentence
    assert not is_running(runner.main)
    assert not is_running(runner.sleeper)
    assert list((tmp_path / "results/.running").iterdir()) == []
    assert not any(list(tree.parent.glob(f"**/gateway-lab-{runner.name}")) for tree in host.trees)
    assert cleaned(tmp_path / "results", host, runner.process.pid) == []


def test_a_live_runner_is_left_alone(tmp_path: Path, runner: FakeRunner, host: CgroupHost) -> None:
    assert cleaned(tmp_path / "results", host, runner.process.pid) == []
    assert cleaned(tmp_path / "elsewhere", host, runner.process.pid) == []
    assert is_running(runner.main)
    assert is_running(runner.sleeper)
    assert len(list((tmp_path / "results/.running").iterdir())) == 1


def test_it_is_found_by_name_and_mark_where_its_registration_is_lost(
    tmp_path: Path, runner: FakeRunner, host: CgroupHost
) -> None:
    runner.kill()
    (sentence,) = cleaned(tmp_path / "other-results", host, runner.process.pid)
    assert "ended 2 processes" in sentence
    assert not is_running(runner.sleeper)


def test_a_process_number_used_again_is_not_mistaken_for_the_runner(
    tmp_path: Path, runner: FakeRunner, host: CgroupHost
) -> None:
    runner.kill()
    # As if this very process had been given the dead runner's number.
    running = tmp_path / "results/.running"
    (old,) = running.glob("*.json")
    me = ProcessId.current()
    old.rename(running / f"{me.pid}-{me.start_ticks - 1}.json")
    assert len(cleaned(tmp_path / "results", host, me.pid)) == 1
    assert not is_running(runner.sleeper)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
        yield process
        process.kill()


def registration(results: Path, **changes: object) -> Path:
    dead = ProcessId(os.getpid(), 1)
    content = {
        "runner": str(dead),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
        "groups": [],
        "sessions": [],
    }
    (results / ".running").mkdir(parents=True)
    file = results / ".running" / f"{dead}.json"
    file.write_text(json.dumps(content | changes))
    return file


def test_a_recorded_session_counts_only_with_its_leaders_start(
    tmp_path: Path, no_cgroups: CgroupHost, stranger: subprocess.Popen[bytes]
) -> None:
    stat = read_stat(stranger.pid)
    assert stat is not None
    file = registration(tmp_path, sessions=[str(ProcessId(stranger.pid, stat.start_ticks - 1))])
    (sentence,) = cleaned(tmp_path, no_cgroups, os.getpid())
    assert f"left alone, because nothing proves that they are its own: processes [{stranger.pid}]" in sentence
    assert stranger.poll() is None
    assert not file.exists()

    registration(tmp_path / "again", sessions=[str(stat.id)])
    (sentence,) = cleaned(tmp_path / "again", no_cgroups, os.getpid())
    assert "ended 1 process," in sentence
    assert stranger.wait(10) == -signal.SIGKILL


def test_a_path_that_is_not_the_runs_own_is_not_believed(tmp_path: Path, no_cgroups: CgroupHost) -> None:
    foreign = tmp_path / "somebody/gateway"
    foreign.mkdir(parents=True)
    registration(tmp_path / "results", groups=[str(foreign)])
    assert "removed 0 groups" in cleaned(tmp_path / "results", no_cgroups, os.getpid())[0]
    assert foreign.is_dir()


def test_another_containers_registration_is_left_and_said(tmp_path: Path, no_cgroups: CgroupHost) -> None:
    file = registration(tmp_path, pid_namespace="pid:[1]")
    (sentence,) = cleaned(tmp_path, no_cgroups, os.getpid())
    assert "another container" in sentence
    assert file.exists()


def test_a_registration_from_before_a_restart_is_dropped(tmp_path: Path, no_cgroups: CgroupHost) -> None:
    file = registration(tmp_path, boot_id="another")
    assert cleaned(tmp_path, no_cgroups, os.getpid()) == []
    assert not file.exists()


def test_a_broken_registration_is_named_and_left(tmp_path: Path, no_cgroups: CgroupHost) -> None:
    file = registration(tmp_path)
    file.write_text("{")
    (sentence,) = cleaned(tmp_path, no_cgroups, os.getpid())
    assert file.name in sentence
    assert "remove it by hand" in sentence


@pytest.mark.anyio
async def test_leaving_a_run_leaves_nothing(tmp_path: Path, host: CgroupHost) -> None:
    async with Run(tmp_path, host) as run:
        sleep = "import time; time.sleep(300)"
        roles = [
            run.start(script(tmp_path, sleep, name=name), run.group(name, Limits())) for name in ("gateway", "loadgen")
        ]
        (file,) = (tmp_path / ".running").iterdir()
        content = json.loads(file.read_text())
        assert content["sessions"] == [str(role.id) for role in roles]
        groups = [Path(path) for path in content["groups"]]
        assert all(map(Path.is_dir, groups))
    assert not any(is_running(role.pid) for role in roles)
    assert list((tmp_path / ".running").iterdir()) == []
    assert not any(path.parent.exists() for path in groups)
