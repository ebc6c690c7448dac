"""The facts of a run that no table shows: what ran it, on what. Collected, never typed."""

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from experiment.config import CHECKOUT
from experiment.plan import Plan

_PACKAGES = """
import importlib.metadata as m, json
print(json.dumps({d.name: d.version for d in sorted(m.distributions(), key=lambda d: d.name.lower())}))
"""


def packages(python: Path) -> dict[str, str]:
    """Name and version of every package that the interpreter at `python` would import."""
    done = subprocess.run([python, "-I", "-c", _PACKAGES], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def commit() -> dict[str, Any]:
    """The checkout's commit and whether it has changes; None where git does not say."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=CHECKOUT, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "changed": None if status is None else bool(status)}


def make_manifest(
    plan: Plan, started: datetime, machine: dict[str, Any], interpreters: dict[str, Any], notes: list[str]
) -> dict[str, Any]:
    """Everything that two runs must share before they may be compared."""
    return {
        "started": started.isoformat(timespec="seconds"),
        "lab": commit(),
        "variant": {"name": plan.variant_name, **(plan.variant.model_dump() if plan.variant else {})},
        "shape": {"name": plan.shape_name, **(plan.shape.model_dump() if plan.shape else {})},
        "timing": {"name": plan.timing_name, **plan.timing.model_dump()},
        "slo": plan.config.slo.model_dump(),
        "harness": plan.config.harness.model_dump(),
        "simulator": plan.config.simulator.model_dump(),
        "cpus": None
        if plan.cpus is None
        else {
            "gateway": sorted(plan.cpus.gateway),
            "harness": sorted(plan.cpus.harness),
            "shared": plan.cpus.shared,
        },
        "interpreters": interpreters,
        "machine": machine,
        "notes": notes,
    }
