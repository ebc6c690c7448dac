"""A run's figures, and its three files: summary.json, samples.csv and latency.hlog.

What the numbers say about a gateway (the verdict) is not decided here.
"""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

from loadgen.afterwards.stalls import find_stalls
from loadgen.fleet import Run
from loadgen.histograms import Distribution, write_log
from loadgen.ledger import FAILURES, classify
from loadgen.samples import Table, due_in_window, is_in_window
from loadgen.schedule import Timing

DETAILS_KEPT = 100
_RANGED = ("newest", "oldest")


def summarise(run: Run) -> tuple[dict[str, Any], dict[str, Distribution]]:
    """The summary and the histograms it was read from, by figure.

    Latencies, flush lateness and send lateness are of frames due in the measured window; connect times, counts and
    failures of the whole run.
    """
    plan, results, samples = run.plan, run.results, run.samples
    timing = plan.timing
    ledgers = sorted((ledger for result in results for ledger in result.ledgers), key=lambda ledger: ledger.session)
    wrong_audio = [failure for result in results for failure in result.wrong_audio]
    stalls = find_stalls(ledgers, samples, plan.limits.stall_s)
    failures = classify(ledgers, stalls, wrong_audio)
    stalled = [stalls[failure.session] for failure in failures if failure.name == "stalled"]
    counted = Counter(failure.name for failure in failures)
    errors = [error for ledger in ledgers for error in ledger.errors]
    figures = _distributions(run, samples)
    user_s = sum(result.cpu_user_s for result in results)
    system_s = sum(result.cpu_system_s for result in results)
    session_s = sum(
        ledger.end_s - ledger.start_s for ledger in ledgers if ledger.start_s is not None and ledger.end_s is not None
    )

    def spread(figure: str) -> dict[str, Any]:
        distribution = figures[figure]
        over = {"over_range": distribution.over_range} if figure in _RANGED else {}
        return {**distribution.summary(), **over}

    summary = {
        "sessions": plan.sessions,
        "workers": plan.workers,
        "seed": plan.seed,
        "timing": {
            "ramp_s": timing.ramp_s,
            "warmup_s": timing.warmup_s,
            "measure_s": timing.measure_s,
            "spread_s": timing.spread_s,
        },
        "connect_ms": spread("connect"),
        "newest_ms": spread("newest"),
        "oldest_ms": spread("oldest"),
        "flush_lateness_ms": spread("flush_lateness"),
        "send_lateness_ms": spread("send_lateness"),
        "blocked_send_ms": spread("blocked_send"),
        "partials": int(samples["is_partial"].sum()),
        "partials_measured": figures["newest"].count,
        "errors": len(errors),
        "error_kinds": dict(sorted(Counter(error.kind for error in errors).items())),
        "frames": {
            "due": sum(ledger.due for ledger in ledgers),
            "sent": sum(ledger.sent for ledger in ledgers),
            "answered": sum(ledger.answered for ledger in ledgers),
            "errored": sum(ledger.errored for ledger in ledgers),
            "lost": sum(ledger.lost for ledger in ledgers),
        },
        "failures": {name: counted[name] for name in FAILURES},
        "failures_total": len(failures),
        "failure_details": [
            {
                "session": failure.session,
                "failure": failure.name,
                "at_s": round(failure.at_s, 6),
                "detail": failure.detail,
            }
            for failure in failures[:DETAILS_KEPT]
        ],
        "stalls": {
            "count": len(stalled),
            "recovered": sum(stall.recovered for stall in stalled),
            "never_recovered": sum(not stall.recovered for stall in stalled),
        },
        "refused": sum(ledger.refused for ledger in ledgers),
        "wrong_audio": len(wrong_audio),
        "cpu": {
            "user_s": user_s,
            "system_s": system_s,
            "us_per_session_second": (user_s + system_s) * 1e6 / session_s if session_s else None,
        },
        "harness": {
            "descriptors_exhausted": sum(result.exhaustion.descriptors for result in results),
            "memory_exhausted": sum(result.exhaustion.memory for result in results),
        },
    }
    return summary, figures


def write_files(run: Run, directory: Path) -> dict[str, Any]:
    """Write the three files into `directory` (made if needed) and return the summary."""
    summary, figures = summarise(run)
    directory.mkdir(parents=True, exist_ok=True)
    timing = run.plan.timing
    write_log(directory / "latency.hlog", figures, timing.measure_start_s, timing.end_s, base_s=run.began_at_s)
    _write_samples(directory / "samples.csv", run.samples, timing)
    (directory / "summary.json").write_text(
        json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    return summary


def _distributions(run: Run, samples: Table) -> dict[str, Distribution]:
    timing = run.plan.timing
    figures = {
        name: Distribution()
        for name in ("newest", "oldest", "send_lateness", "connect", "flush_lateness", "blocked_send")
    }
    newest = due_in_window(samples, "newest", timing)
    figures["newest"].add(newest["newest_ms"])
    figures["flush_lateness"].add(newest["flush_lateness_ms"])
    figures["oldest"].add(due_in_window(samples, "oldest", timing)["oldest_ms"])
    for result in run.results:
        window = timing.measures(result.send_due_s)
        figures["send_lateness"].add(result.send_late_ms[window], result.send_frames[window])
        figures["blocked_send"].add(result.blocked_ms[timing.measures(result.blocked_due_s)])
        connects = [ledger.connect_s * 1000 for ledger in result.ledgers if ledger.connect_s is not None]
        figures["connect"].add(connects)
    return figures


def _write_samples(path: Path, samples: Table, timing: Timing) -> None:
    columns = (
        "session",
        "arrival_s",
        "oldest_seq",
        "newest_seq",
        "oldest_ms",
        "newest_ms",
        "flush_lateness_ms",
        "checksum",
        "newest_in_window",
        "oldest_in_window",
        "kind",
    )
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        windows = (is_in_window(samples, frame, timing).tolist() for frame in _RANGED)
        for row, newest_in_window, oldest_in_window in zip(samples.tolist(), *windows, strict=True):
            session, arrival_s, oldest, newest, _, _, oldest_ms, newest_ms, late_ms, checksum, is_partial, _ = row
            writer.writerow(
                (
                    session,
                    f"{arrival_s:.6f}",
                    oldest,
                    newest,
                    f"{oldest_ms:.3f}",
                    f"{newest_ms:.3f}",
                    f"{late_ms:.3f}",
                    checksum if is_partial else "",
                    int(newest_in_window),
                    int(oldest_in_window),
                    "partial" if is_partial else "error",
                )
            )
