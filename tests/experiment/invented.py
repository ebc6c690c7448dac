"""Stored runs that nobody measured, for what reads, compares and publishes them."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from experiment.ask.config import load_config
from experiment.search.ladder import bracket
from experiment.setup import write_json
from experiment.store.folders import RunFolder
from experiment.terms import Tried

CONFIG = load_config()
NOW = datetime(2026, 11, 24, 4, 5, 6)


def interpreter(asked: str = "3.14", **changed: Any) -> dict[str, Any]:
    """Facts of one, as found."""
    free = asked.endswith("t")
    tag = "3.14.7t" if free else "3.14.7"
    facts = {"version": "3.14.7", "tag": tag, "free_threaded": free, "compiler": "GCC 14", "pgo": True, "lto": False}
    build = {"commit": "c0ffee", "jit_enabled": False, "libpython_sha256": None}
    packages = {"granian": "2.8.7", "h2": "4.3.0"}
    contents = {"granian": "index 0123456789ab", "h2": "index ba9876543210"}
    return {**facts, **build, "libc": "glibc 2.41", "packages": packages, "package_contents": contents, **changed}


def manifest(rows: dict[str, str], verb: str = "compare", timing: str = "quick") -> dict[str, Any]:
    """Of rows of experiments.toml, by label, each with its shape."""
    stored = {}
    for label, shape in rows.items():
        name = label.partition("@")[0]
        variant = CONFIG.variants[name]
        stored[label] = {
            "variant": {"name": name, **variant.model_dump()},
            "shape": {"name": shape, **CONFIG.shapes[shape].model_dump()},
            "cpus": {"gateway": [1], "harness": [0], "shared": False},
            "interpreter": interpreter(variant.interpreter),
        }
    return {
        "started": "2026-11-24T04:05:06+00:00",
        "verb": verb,
        "lab": {"commit": "c0ffee", "changed": False},
        "ask": {},
        "searches": {},
        "timing": {"name": timing, **CONFIG.timings[timing].model_dump()},
        "slo": CONFIG.slo.model_dump(),
        "harness": CONFIG.harness.model_dump(),
        "simulator": CONFIG.simulator.model_dump(),
        "rows": stored,
        "interpreters": {"harness": interpreter()},
        "machine": {"cpu_model": "Invented", "cpus": 2, "kernel": "6.18.0-1", "kernel_build": "#1", "memory_bytes": 8},
        "hygiene": [],
        "notes": ["not kept in evidence"],
    }


def point(sessions: int, status: str, us: float, purpose: str) -> dict[str, Any]:
    """A summary as `experiment.run.point` writes it."""
    latency = {"p50": 100.0, "p95": 150.0}
    return {
        "sessions": sessions,
        "status": status,
        "purpose": purpose,
        "reasons": [] if status == "PASS" else ["newest p95 400 > 350 ms"],
        "notes": [],
        "harness": [
            {"key": "send_lateness_p99_ms", "limit": 10, "measured": 1.0},
            {"key": "simulator_overshoot_p99_ms", "limit": 10, "measured": 2.0},
        ],
        "gateway": {"us_per_session_second": us, "cpu": 0.5, "rss_bytes_max": 2**27},
        "load": {
            "newest_ms": latency,
            "oldest_ms": {"p50": 1100.0, "p95": 1200.0},
            "partials": 3000,
            "failures": {},
            "failures_total": 0,
            "stalls": {"count": 0},
            "samples_seen": "not kept in evidence",
        },
    }


def store(
    results: Path, facts: dict[str, Any], points: dict[str, list[dict[str, Any]]], *, finished: bool = True
) -> Path:
    """Write a run's folder; a row without points is refused."""
    folder = RunFolder.create(results, facts["verb"], NOW)
    rows = {}
    for label in facts["rows"]:
        kept = []
        for one in points.get(label, []):
            place = folder.point(label, one["sessions"])
            write_json(place.summary, {key: value for key, value in one.items() if key != "purpose"})
            kept.append(
                {"folder": place.path.name, **{k: one[k] for k in ("sessions", "status", "purpose", "reasons")}}
            )
        known = bracket([Tried(one["sessions"], one["status"]) for one in kept])
        rows[label] = {
            "conformance": "conforms" if kept else None,
            "refused": None if kept else "no wheel for it",
            "external": False,
            "harness_shared": False,
            "bracket": asdict(known) if kept else None,
            "ended": "the edge is found",
            "points": kept,
        }
    folder.write_manifest(facts)
    folder.write_verdict({"finished": finished, "rows": rows})
    return folder.path


def ladder_points(us: float, top: int) -> list[dict[str, Any]]:
    """Three listed points at 200, and a confirmed edge at `top`."""
    listed = [point(200, "PASS", us * drift, f"listed-{n}") for n, drift in enumerate((1.0, 1.1, 1.3), 1)]
    edge = [(top, "PASS"), (top + 5, "FAIL"), (top, "PASS"), (top + 5, "FAIL")]
    return listed + [point(sessions, status, us, "ladder") for sessions, status in edge]
