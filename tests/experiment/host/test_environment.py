"""Which of the user's variables reach a process, and what is said of those that do not."""

from pathlib import Path

import pytest

from experiment.host import CgroupHost, Command, Limits, Run, core_speed, role_environment
from experiment.setup import CHECKOUT
from tests.speaking import disturb, is_clean, speaker

GIVEN = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "LD_LIBRARY_PATH": "/opt/lib",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LD_PRELOAD": "/usr/lib/libjemalloc.so.2:/opt/libhook.so",
    "GLIBC_TUNABLES": "glibc.malloc.arena_max=1",
    "PYTHON_JIT": "1",
    "PYTHONMALLOC": "debug",
    "PYTHONUNBUFFERED": "x",
    "PYTHON_VERSION": "3.14.7",
    "A_SECRET": "hunter2",
}


def test_what_is_not_on_the_list_is_left_out_and_what_would_disturb_is_named() -> None:
    found = role_environment(given=GIVEN)
    ours = {"PYTHONUNBUFFERED": "1", "PYTHONPYCACHEPREFIX": str(CHECKOUT / ".lab" / "bytecode")}
    listed = ("PATH", "LC_ALL", "LD_LIBRARY_PATH")
    assert found.variables == {name: GIVEN[name] for name in listed} | ours
    assert found.dropped == (
        *("GLIBC_TUNABLES", "LD_PRELOAD", "PYTHONDONTWRITEBYTECODE", "PYTHONMALLOC", "PYTHON_JIT"),
    )
    (note,) = found.notes()
    assert note.startswith("environment: GLIBC_TUNABLES, LD_PRELOAD, PYTHONDONTWRITEBYTECODE, PYTHONMALLOC, PYTHON_JIT")
    assert "hunter2" not in f"{found.facts()} {note}"
    assert "A_SECRET" not in f"{found.facts()} {note}"
    assert role_environment(given={"PATH": "/bin"}).notes() == []


@pytest.mark.parametrize(
    "name",
    [
        *("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONHASHSEED", "PYTHONPATH", "PYTHONSAFEPATH"),
        *("PYTHON_GIL", "PYTHON_TLBC", "PYTHON_CPU_COUNT", "MALLOC_ARENA_MAX", "MALLOC_CONF", "_RJEM_MALLOC_CONF"),
        *("MIMALLOC_VERBOSE", "LD_AUDIT", "ASAN_OPTIONS", "GRANIAN_WORKERS", "UV_THREADPOOL_SIZE", "RUST_BACKTRACE"),
        *("AIOHTTP_NO_EXTENSIONS", "GOMAXPROCS"),
    ],
)
def test_a_variable_that_changes_how_a_process_runs_is_named(name: str) -> None:
    assert role_environment(given={name: "1"}).dropped == (name,)
    assert dict(role_environment([name], {name: "1"}).kept) == {name: "1"}


@pytest.mark.parametrize(
    "name", ["PYTHON", "PYTHONS", "PYTHON_CHOSEN", "PYTHON_SHA256", "UV_INDEX_URL", "RUST_VERSION"]
)
def test_others_are_left_out_without_a_word(name: str) -> None:
    found = role_environment(given={name: "1"})
    assert (name in found.variables, found.notes()) == (False, [])


def test_what_is_asked_for_by_name_is_kept_and_recorded_without_folders_of_this_machine() -> None:
    found = role_environment(("LD_PRELOAD", "A_SECRET", "PYTHON_JIT"), GIVEN)
    assert {name: found.variables[name] for name in found.kept} == {
        name: GIVEN[name] for name in ("LD_PRELOAD", "A_SECRET", "PYTHON_JIT")
    }
    facts = found.facts()
    assert facts["kept"] == {"A_SECRET": "hunter2", "LD_PRELOAD": "libjemalloc.so.2:libhook.so", "PYTHON_JIT": "1"}
    assert facts["dropped"] == ["GLIBC_TUNABLES", "PYTHONDONTWRITEBYTECODE", "PYTHONMALLOC"]
    assert facts["passed"] == ["LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED"]


@pytest.mark.anyio
async def test_every_role_of_a_run_gets_what_was_asked_for(
    tmp_path: Path, no_cgroups: CgroupHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(monkeypatch)
    code = "echo ${PYTHONMALLOC-unset} ${PYTHONASYNCIODEBUG-unset}"
    async with Run(tmp_path, no_cgroups, keep_env=("PYTHONMALLOC",)) as run:
        for role in ("gateway", "loadgen"):
            command = Command(["/bin/sh", "-c", code], tmp_path, tmp_path / f"{role}.log")
            await run.start(command, run.group(role, Limits())).wait()
            assert (tmp_path / f"{role}.log").read_text() == "malloc unset\n"


def test_a_core_s_speed_is_measured_without_the_user_s_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(monkeypatch)
    said: dict[str, object] = dict(core_speed(speaker(tmp_path), 0) or {})
    assert is_clean({name: str(value) for name, value in said.items()})
