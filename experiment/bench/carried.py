"""How many sessions the harness carries on this machine, for each `receive`, and where it ends: a ladder of the gateway
that costs least, up to the first points that are INVALID. Runs of their own, stored like any other.
"""

from pathlib import Path
from typing import Any, get_args

from experiment.ask import Ask, Receive, load_config
from experiment.run import Display, make_campaign, role_us, run_campaign
from experiment.setup import read_json

ROW, SHAPE, LADDER = "drain", "cpuset-1", "harness"


async def measure_carried(results: Path, display: Display) -> dict[str, Any]:
    """By `receive`: `{run, refused, ended, points: [{sessions, status, loadgen_us, simulator_us, gateway_us,
    all_in_us, late_p99_ms, overshoot_p99_ms}]}`, costs in µs of CPU per session-second, None where not
    measured. `refused`: why that `receive` is not to be had here, with no points.

    Raises as `run_campaign` does.
    """
    config = load_config()
    start = config.ladder(LADDER).start
    found: dict[str, Any] = {}
    for receive in get_args(Receive):
        ask = Ask("bench", (ROW,), (SHAPE,), receive=receive, ladder=LADDER, start=start)
        campaign = make_campaign(config, ask, results)
        (row,) = campaign.rows
        refused = row.refused if row.plan is None else row.plan.why_sender
        if row.plan is None or refused is not None:
            found[receive] = {"run": None, "refused": refused, "ended": None, "points": []}
            continue
        display.note(f"the harness, receive = {receive}: at most {campaign.seconds()[2] / 60:.0f} min")
        folder = await run_campaign(campaign, display)
        verdict = read_json(folder / "verdict.json")
        assert verdict is not None
        (judged,) = verdict["rows"].values()
        places = [folder / "points" / row.label / point["folder"] for point in judged["points"]]
        points = [_costs(read_json(place / "summary.json") or {}) for place in places]
        found[receive] = {"run": folder.name, "refused": None, "ended": judged["ended"], "points": points}
    return found


def _costs(summary: dict[str, Any]) -> dict[str, Any]:
    gateway, late = summary["gateway"] or {}, {gate["key"]: gate["measured"] for gate in summary["harness"]}
    return {
        **{key: summary[key] for key in ("sessions", "status")},
        "loadgen_us": role_us(summary, "loadgen"),
        "simulator_us": role_us(summary, "simulator"),
        "gateway_us": gateway.get("us_per_session_second"),
        "all_in_us": gateway.get("all_in_us_per_session_second"),
        "late_p99_ms": late.get("send_lateness_p99_ms"),
        "overshoot_p99_ms": late.get("simulator_overshoot_p99_ms"),
    }
