"""What CI runs: the test command, then a newcomer's pass, here over a checkout whose verbs say what they were given."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.setup.commands import clean_environment

CI = Path(__file__).parents[1] / ".ci"

# Each verb writes what it was given to a folder outside; the smoke point ends as the file `ends` there says, by lines.
MAKEFILE = """\
MAKEFLAGS += --no-print-directory
conformance:
	@env > {seen}/$(VARIANT).env; pwd > {seen}/pwd; cat > {seen}/stdin
experiment:
	@mkdir -p results/run .lab/venvs/harness-3.14/bin; ln -sf {python} .lab/venvs/harness-3.14/bin/python
	@cp {seen}/manifest.json results/run/
	@echo again >> {seen}/tried
	@ended=$$(sed -n "$$(wc -l < {seen}/tried)p" {seen}/ends); echo "$$ended"; test "$${{ended%% *}}" = RESULT
"""


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """What the verbs saw; beside it the checkout."""
    if shutil.which("git") is None:
        pytest.skip("needs git, to clone a checkout")
    seen, checkout = tmp_path / "seen", tmp_path / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    seen.mkdir()
    shutil.copy(CI / "newcomer", checkout / ".ci")
    (checkout / "Makefile").write_text(MAKEFILE.format(seen=seen, python=sys.executable))
    git = ["git", "-C", str(checkout), "-c", "user.name=nobody", "-c", "user.email=nobody"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True, timeout=30)
    _ran_on(seen, 11)
    (seen / "ends").write_text("RESULT results/run\n")
    (tmp_path / "tmp").mkdir()
    return seen


def _ran_on(seen: Path, minor: int) -> None:
    facts = f'{{"version": "3.{minor}.2", "version_info": [3, {minor}, 2], "base_executable": "/usr/bin/python3"}}'
    text = f'{{"interpreters": {{"harness": {facts}}}, "rows": {{"gil": {{"interpreter": {facts}}}}}}}'
    (seen / "manifest.json").write_text(text)


def newcomer(seen: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = clean_environment(TMPDIR=str(seen.parent / "tmp"), **more)
    script = seen.parent / "checkout" / ".ci" / "newcomer"
    return subprocess.run([script], env=environment, input="typed", capture_output=True, text=True, timeout=60)


def test_ci_runs_the_test_command_then_a_newcomers_pass() -> None:
    assert all(os.access(CI / name, os.X_OK) for name in ("run", "newcomer"))
    commands = [line for line in (CI / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-2:] == ["make test </dev/null", "exec .ci/newcomer </dev/null"]


def test_a_newcomer_has_nothing_of_ours_but_the_way_to_the_index(seen: Path) -> None:
    ended = newcomer(seen, PIP_INDEX_URL="of pip", UV_INDEX_URL="of uv", https_proxy="a", PYTHONPATH="x", LAB_RETRY="1")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-2] == "newcomer: ran on CPython 3.11.2 at /usr/bin/python3"
    for variant in ("gil", "gil-picows", "drain"):
        lines = (seen / f"{variant}.env").read_text().splitlines()
        given = dict(line.split("=", 1) for line in lines if "=" in line)
        assert (given["PIP_INDEX_URL"], given["UV_INDEX_URL"], given["https_proxy"]) == ("of pip", "of uv", "a")
        assert given["PATH"] == "/usr/local/bin:/usr/bin:/bin"
        assert given["UV_PYTHON_DOWNLOADS"] == "never"
        assert not {"PYTHONPATH", "LAB_RETRY", "PYENV_ROOT"} & given.keys()
        for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "UV_CACHE_DIR"):
            assert given[name].startswith(str(seen.parent / "tmp")), name
    assert (seen / "pwd").read_text().startswith(str(seen.parent / "tmp"))
    assert (seen / "stdin").read_text() == ""
    assert not list((seen.parent / "tmp").iterdir())


def test_an_invalid_point_is_tried_again_twice_and_does_not_redden(seen: Path) -> None:
    (seen / "ends").write_text("EXIT 3 every point was INVALID\n" * 2 + "RESULT results/run\n")
    assert newcomer(seen).returncode == 0
    (seen / "tried").unlink()
    (seen / "ends").write_text("EXIT 3 every point was INVALID\n" * 9)
    ended = newcomer(seen)
    assert ended.returncode == 0
    assert "newcomer: INVALID, attempt 3 of 3" in ended.stdout
    assert len((seen / "tried").read_text().splitlines()) == 3


def test_any_other_end_of_the_point_reddens_at_once(seen: Path) -> None:
    (seen / "ends").write_text("EXIT 1 the simulator did not start\nRESULT results/run\n")
    assert newcomer(seen).returncode == 1
    assert not list((seen.parent / "tmp").iterdir())


def test_a_python_that_is_no_newcomers_fails_and_says_so(seen: Path) -> None:
    _ran_on(seen, 14)
    ended = newcomer(seen)
    assert ended.returncode == 1
    assert "ran on CPython 3.14.2 at /usr/bin/python3: expected one before 3.14" in ended.stderr
