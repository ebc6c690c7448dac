"""A stored run in compact form, one JSON file that is kept for good.

It holds the manifest without notes, the verdict, and of each point what tables are made from.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment.setup import write_json
from experiment.store.merge import IDENTITY
from experiment.store.runs import StoredRun

_INTERPRETER_KEYS = ("version", "tag", "requested", "free_threaded", "gil_enabled", "compiler", "pgo", "lto", "libc")
_MACHINE_KEYS = ("cpu_model", "cpus", "kernel", "kernel_build", "memory_bytes", "virtualisation", "cgroup", "governor")
_LATER_MACHINE_KEYS = ("turbo", "cgroup_writable", "cgroup_controllers")
_POINT_KEYS = ("sessions", "status", "purpose", "reasons", "notes", "harness", "gateway", "load")
_LATER_KEYS = ("core_speed", "outer_quotas", "steal_share", "cores", "harness_layout")
"""Those that older runs do not have; so with the machine's."""
_FOLDERS = re.compile(r"[^\s+,=]*/(?=[^\s+,/])")
_LOAD_KEYS = ("newest_ms", "oldest_ms", "send_lateness_ms", "partials", "failures", "failures_total", "stalls")


def write_evidence(run: StoredRun, path: Path) -> None:
    """The compact form, for good."""
    manifest = {key: value for key, value in run.manifest.items() if key != "notes"}
    manifest["ask"] = {key: without_places(value) for key, value in manifest["ask"].items()}
    manifest["machine"] = machine_kept(manifest["machine"])
    manifest["interpreters"] = {name: _interpreter(facts) for name, facts in manifest["interpreters"].items()}
    manifest["rows"] = {
        row.name: {**row.facts, "interpreter": _interpreter(row.facts["interpreter"])} for row in run.rows
    }
    verdict = {
        "finished": run.finished,
        "rows": {row.name: {k: v for k, v in row.verdict.items() if k != "points"} for row in run.rows},
    }
    points = {row.name: [_point(point.stored) for point in row.points] for row in run.rows}
    write_json(path, {"name": run.name, "manifest": manifest, "verdict": verdict, "points": points})


def without_places(asked: Any) -> Any:
    """The same, with the names of files and no folders: those are a machine's own."""
    if isinstance(asked, list):
        return [without_places(each) for each in asked]
    if isinstance(asked, dict):
        return {key: without_places(each) for key, each in asked.items()}
    return _FOLDERS.sub("", asked) if isinstance(asked, str) and "://" not in asked else asked


def machine_kept(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a machine's facts: nothing by which it could be named."""
    later = {key: facts[key] for key in _LATER_MACHINE_KEYS if key in facts}
    return {key: facts.get(key) for key in _MACHINE_KEYS} | later


def _interpreter(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return (
        None if facts is None else {key: facts.get(key) for key in (*_INTERPRETER_KEYS, "packages")} | identity(facts)
    )


def identity(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What tells an interpreter and its packages from others of the same versions; nothing of it in an older run."""
    marks = {"marks": facts["marks"]} if facts.get("marks") else {}
    return {key: facts[key] for key in (*IDENTITY, "package_contents") if key in facts} | marks


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    load = point["load"] or {}
    kept = {key: point.get(key) for key in _POINT_KEYS} | {key: point[key] for key in _LATER_KEYS if key in point}
    return {**kept, "load": {key: load.get(key) for key in _LOAD_KEYS}}
