"""The facts of a run that no table shows: what ran it, on what. Collected, never typed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from experiment.ask import Row
from experiment.host import RoleEnvironment
from experiment.run.campaign import Campaign
from experiment.run.launch import Launch
from experiment.run.revisions import git
from experiment.search import Search

CONTRACT = 2
"""The version of the measuring contract that runs are made by."""


def commit() -> dict[str, Any]:
    """The checkout's commit and whether it has changes; None where git does not say."""
    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "changed": None if status is None else bool(status)}


def make_manifest(
    campaign: Campaign,
    started: datetime,
    machine: dict[str, Any],
    harness: dict[str, Any],
    rows: Mapping[str, tuple[Launch | None, dict[str, Any] | None]],
    environment: RoleEnvironment,
    hygiene: list[dict[str, str]],
    notes: list[str],
) -> dict[str, Any]:
    """Everything that two runs must share before they may be compared.

    Args:
        harness: facts of the interpreter that the harness runs on.
        rows: by label, what `prepare` gave: the row as it runs, and its interpreter's facts; None where there is none.
        environment: what of the user's variables its roles got.
        hygiene: what of the machine may disturb the run.
    """
    config = campaign.config
    ask, name = campaign.resolved.ask, campaign.resolved.timing
    timing = config.timing(name)
    stored: dict[str, Any] = {
        "started": started.isoformat(timespec="seconds"),
        "contract": CONTRACT,
        "verb": ask.verb,
        "lab": commit(),
        "ask": asdict(ask),
        "searches": {label: _search(search) for label, search in campaign.searches.items()},
        "timing": {"name": name, **timing.model_dump(exclude_defaults=True)},
        "slo": config.slo.model_dump(),
        "harness": config.harness.model_dump(),
        "simulator": config.simulator.model_dump(),
        "rows": {row.label: _row(row, *rows[row.label]) for row in campaign.rows},
        "interpreters": {"harness": harness},
        "machine": machine,
        "environment": environment.facts(),
        "hygiene": hygiene,
        "notes": notes,
    }
    # As it will be read back, so that a resumed run compares like with like.
    plain: dict[str, Any] = json.loads(json.dumps(stored))
    return plain


def _row(row: Row, launch: Launch | None, interpreter: dict[str, Any] | None) -> dict[str, Any]:
    again = {} if row.again_of is None else {"again_of": row.again_of}
    return {**_factors(row, launch), **again, "interpreter": interpreter}


def _factors(row: Row, launch: Launch | None) -> dict[str, Any]:
    """`variant` holds the factors that ran; `asked` those of the row's table that a stand-in changed, None for none."""
    plan = row.plan
    if plan is None:
        return {"variant": {"name": row.variant}, "asked": None, "shape": {"name": row.shape}, "cpus": None}
    asked = plan.variant.model_dump() if plan.variant else {}
    ran = asked if launch is None else launch.row.model_dump()
    return {
        "variant": {"name": plan.variant_name, **ran},
        **({"build": built} if (built := plan.build.facts()) else {}),
        "asked": {key: value for key, value in asked.items() if value != ran[key]} or None,
        "shape": {"name": plan.shape_name, **(plan.shape.model_dump() if plan.shape else {})},
        "cpus": None
        if plan.cpus is None
        else {
            "gateway": sorted(plan.cpus.gateway),
            "harness": sorted(plan.cpus.harness),
            "shared": plan.cpus.shared,
            "idle": sorted(plan.cpus.idle),
        },
    }


def _search(search: Search) -> dict[str, Any]:
    ladder = search.ladder
    return {
        "listed": list(search.listed),
        "rounds": search.rounds,
        "ladder": None if ladder is None else ladder.model_dump(),
    }
