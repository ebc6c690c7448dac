"""Roles are started, watched and stopped the same way on every kind of group that this machine can make."""

import os
import signal
from pathlib import Path

import anyio
import pytest

from experiment.host import Command, Limits, Role
from experiment.host.processes import Exit
from tests.experiment.host.conftest import PARENT_AND_GRANDCHILD, MakeGroup, eventually, first_lines, is_running, script

pytestmark = pytest.mark.anyio


async def test_grandchildren_that_outlive_their_parent_are_ended(tmp_path: Path, make: MakeGroup) -> None:
    group = make("gateway", Limits())
    role = Role(script(tmp_path, PARENT_AND_GRANDCHILD, pipe=True), group)
    with anyio.fail_after(20):
        sleeper, ready = await first_lines(role, 2)
    assert ready == "ready"
    assert {role.pid, int(sleeper)} <= set(group.pids())
    exit_ = await role.stop(grace_s=0.2)
    assert exit_.signal == "SIGTERM"
    assert not is_running(int(sleeper))
    assert group.pids() == []


async def test_a_process_that_leaves_the_session_is_ended_too(tmp_path: Path, make: MakeGroup) -> None:
    code = """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            print(os.getpid(), flush=True)
        time.sleep(300)
    """
    role = Role(script(tmp_path, code, pipe=True), make("gateway", Limits()))
    with anyio.fail_after(20):
        (daemon,) = await first_lines(role, 1)
    await role.stop(grace_s=0.1)
    assert not is_running(int(daemon))


async def test_a_role_that_ends_in_time_keeps_its_status(tmp_path: Path, make: MakeGroup) -> None:
    code = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("up", flush=True)
        while True:  # a signal just before one long sleep would be handled only after it
            time.sleep(0.05)
    """
    role = Role(script(tmp_path, code, pipe=True), make("gateway", Limits()))
    await first_lines(role, 1)
    assert role.exited() is None
    exit_ = await role.stop(grace_s=10)
    assert (exit_.status, exit_.signal) == (7, None)
    assert await role.stop() == exit_  # again is harmless


async def test_an_early_end_is_seen_with_the_last_lines_of_the_log(tmp_path: Path, make: MakeGroup) -> None:
    code = "import sys; print('port 9 is taken'); sys.exit(3)"
    async with Role(script(tmp_path, code), make("simulator", Limits())) as role:
        with anyio.fail_after(20):
            exit_ = await role.wait()
    assert exit_.status == 3
    assert str(exit_) == "simulator ended with status 3; the last lines of role.log:\n  | port 9 is taken"


async def test_a_command_that_is_not_there_says_so(tmp_path: Path, make: MakeGroup) -> None:
    command = Command(["no-such-gateway"], tmp_path, tmp_path / "role.log")
    async with Role(command, make("gateway", Limits(cpus=frozenset({0})))) as role:
        with anyio.fail_after(20):
            exit_ = await role.wait()
    assert exit_.status == 127
    assert "no-such-gateway" in exit_.tail


async def test_cancellation_does_not_interrupt_the_stop(tmp_path: Path, make: MakeGroup) -> None:
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        time.sleep(300)
    """
    role = Role(script(tmp_path, code, pipe=True), make("gateway", Limits()))
    await first_lines(role, 1)
    with anyio.CancelScope() as scope:
        try:
            scope.cancel()
            await anyio.sleep(60)
        finally:
            await role.stop(grace_s=0.3)
    assert scope.cancelled_caught
    assert role.exited() is not None
    assert role.group.pids() == []


async def test_lines_go_on_to_the_last_one_while_the_role_is_stopped(tmp_path: Path, make: MakeGroup) -> None:
    code = """
        import os, signal, time
        def last(*_):
            rest = b"x" * 200000 + b"\\nno newline at the end"
            while rest:
                rest = rest[os.write(1, rest):]
            os._exit(0)
        signal.signal(signal.SIGTERM, last)
        os.write(1, b"up\\n")
        while True:
            time.sleep(0.05)
    """
    before = set(os.listdir("/proc/self/fd"))
    seen: list[str] = []
    async with anyio.create_task_group() as tasks:
        role = Role(script(tmp_path, code, pipe=True), make("loadgen", Limits()))
        started = anyio.Event()

        async def read() -> None:
            async for line in role.lines():
                seen.append(line)
                started.set()

        tasks.start_soon(read)
        await started.wait()
        exit_ = await role.stop(grace_s=10)
    assert exit_.status == 0
    assert seen == ["up", "x" * 200000, "no newline at the end"]
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # the directory being listed


async def test_a_role_gets_its_own_variables_and_of_the_user_s_those_on_the_list(
    tmp_path: Path, make: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home-of-a-test")
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    monkeypatch.setenv("A_SECRET", "1")
    code = "pwd; echo $ONLY $HOME ${PYTHONASYNCIODEBUG-unset} ${A_SECRET-unset}"
    command = Command(["/bin/sh", "-c", code], tmp_path, tmp_path / "role.log", env={"ONLY": "this"}, pipe_stdout=True)
    async with Role(command, make("gateway", Limits())) as role:
        assert [line async for line in role.lines()] == [str(tmp_path), "this /home-of-a-test unset unset"]


async def test_the_command_that_stops_a_role_sees_what_the_role_sees(
    tmp_path: Path, make: MakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    stop = f"echo $MINE ${{PYTHONASYNCIODEBUG-unset}} > {tmp_path}/stopped; kill {{pid}}"
    command = Command(["sleep", "300"], tmp_path, tmp_path / "role.log", env={"MINE": "this"}, stop=stop)
    async with Role(command, make("gateway", Limits())):
        pass
    assert (tmp_path / "stopped").read_text() == "this unset\n"


async def test_a_role_ended_from_outside_is_named_by_its_signal(tmp_path: Path, make: MakeGroup) -> None:
    async with Role(script(tmp_path, "import time; time.sleep(300)"), make("gateway", Limits())) as role:
        os.kill(role.pid, signal.SIGKILL)
        with anyio.fail_after(10):
            exit_ = await role.wait()
    assert isinstance(exit_, Exit)
    assert (exit_.status, exit_.signal) == (None, "SIGKILL")
    assert eventually(lambda: not is_running(role.pid))


async def test_the_last_resort_needs_no_event_loop(tmp_path: Path, make: MakeGroup) -> None:
    role = Role(script(tmp_path, "import time; time.sleep(300)"), make("gateway", Limits()))
    assert role.kill().signal == "SIGKILL"
    assert role.group.pids() == []
