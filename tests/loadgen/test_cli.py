"""`python -m loadgen` as its callers run it: lines, files, exit statuses, signals."""

import csv
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadgen.__main__ import main
from loadgen.worker import resolve
from tests.loadgen.tiny_gateway import TinyGateway

SUMMARY_KEYS = [
    *("sessions", "workers", "seed", "timing"),
    *("connect_ms", "newest_ms", "oldest_ms", "flush_lateness_ms", "send_lateness_ms", "blocked_send_ms"),
    *("partials", "partials_measured", "errors", "error_kinds", "frames"),
    *("failures", "failures_total", "failure_details", "stalls", "refused", "wrong_audio", "cpu", "harness"),
]


def command(url: str, out: Path, *more: str, measure_s: float = 1.0) -> list[str]:
    timing = ["--ramp-s", "0.2", "--warmup-s", "0.1", "--measure-s", str(measure_s), "--spread-s", "0.1"]
    return [sys.executable, "-m", "loadgen", "--url", url, "--sessions", "4", *timing, "--out", str(out), *more]


def test_of_a_names_addresses_the_first_that_answers_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed, socket.create_server(("127.0.0.1", 0)) as gateway:
        closed.bind(("127.0.0.1", 0))
        addresses = [closed.getsockname(), gateway.getsockname()]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        _, *where = resolve("ws://localhost:1/ws/stt")
        assert where == [socket.AF_INET, addresses[1]]
        gateway.close()
        _, *where = resolve("ws://localhost:1/ws/stt")
        assert where == [socket.AF_INET, addresses[0]]


def test_a_run_prints_lines_and_leaves_three_files(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    with TinyGateway({3: "close"}) as gateway:
        done = subprocess.run(command(gateway.url, out), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    events: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    phases = [event for event in events if event["event"] == "phase"]
    assert [event["phase"] for event in phases] == ["ramp", "warmup", "measure", "drain", "verify", "done"]
    assert [event["monotonic_s"] for event in phases] == sorted(event["monotonic_s"] for event in phases)
    progress = next(event for event in events if event["event"] == "progress")
    assert set(progress) == {
        *("event", "elapsed_s", "total_s", "open", "partials", "errors", "failures"),
        *("newest_p50_ms", "newest_p95_ms", "late_ms", "still"),
    }
    assert progress["open"] == 3
    assert progress["failures"] == 1
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary) == SUMMARY_KEYS
    assert summary["failures_total"] == summary["failures"]["protocol"] == 1
    assert summary["seed"] == summary["workers"] == 1
    with (out / "samples.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == summary["partials"]
    assert sum(int(row["newest_in_window"]) for row in samples) == summary["partials_measured"]
    assert sum(int(row["oldest_in_window"]) for row in samples) == summary["oldest_ms"]["count"]
    assert {row["kind"] for row in samples} == {"partial"}
    assert all(float(row["oldest_ms"]) >= float(row["newest_ms"]) > 0 for row in samples)
    lines = (out / "latency.hlog").read_text().splitlines()
    tags = [line.split(",")[0] for line in lines if line.startswith("Tag=")]
    assert tags == [
        f"Tag={name}" for name in ("newest", "oldest", "send_lateness", "connect", "flush_lateness", "blocked_send")
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--sessions", "0"], "expected an integer ≥ 1"),
        (["--measure-s", "-1"], "measure_s: expected a finite number"),
        (["--measure-s", "nan"], "measure_s: expected a finite number"),
        (["--url", "http://127.0.0.1:1/"], "expected a URL like ws://"),
        (["--url", "wss://127.0.0.1:1/"], "TLS is not measured here"),
        (["--workers", "0"], "expected an integer ≥ 1"),
    ],
)
def test_bad_input_is_2_and_says_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command("ws://127.0.0.1:1/ws/stt", tmp_path, *more)[3:])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_promptly_with_its_workers(tmp_path: Path, number: signal.Signals) -> None:
    with TinyGateway() as gateway:
        arguments = command(gateway.url, tmp_path, "--workers", "2", measure_s=60)
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["phase"] == "ramp"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(children) >= 2
            time.sleep(0.3)
            process.send_signal(number)
            assert process.wait(5) == 128 + number
            assert not any(Path(f"/proc/{child}/exe").exists() for child in children[-2:])


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with TinyGateway() as gateway:
        arguments = command(gateway.url, tmp_path, measure_s=60)
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.kill()
            process.wait(5)
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{child}").exists() and _lives(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _lives(pid: str) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
