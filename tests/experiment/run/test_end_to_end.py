"""The whole path once: a foreign row (ours, started by a command line) conforms, takes a point and is stored."""

import json
import sys
from pathlib import Path

import pytest

from experiment.ask import Ask
from experiment.ask.config import load_config
from experiment.ask.schema import Foreign
from experiment.host import ShapeRefused, cannot_steer, usable_cpus
from experiment.run.campaign import make_campaign
from experiment.run.progress import Display
from experiment.run.runner import run_campaign

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_foreign_row_is_measured_like_any_other(tmp_path: Path) -> None:
    row = Foreign(
        about="the stock stack, as a stranger would start it",
        command=[
            *(sys.executable, "-m", "variants.asgi", "--port", "{port}", "--transport", "h1"),
            *("--inference-url", "{inference_url}"),
        ],
        env={"MINE": "{inference_url}"},
        stop=f"touch {tmp_path}/stopped; kill -TERM {{pid}}",
    )
    config = load_config().model_copy(update={"foreign": {"mine": row}})
    ask = Ask("experiment", ("mine",), ("cpuset-1",), "smoke", sessions=(5,))
    try:
        campaign = make_campaign(config, ask, tmp_path / "results")
    except ShapeRefused as refused:
        pytest.skip(str(refused))
    folder = await run_campaign(campaign, Display())
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["finished"]
    stored = verdict["rows"]["mine"]
    assert stored["conformance"] == "conforms"
    *again, point = stored["points"]
    # On a busy machine the harness may fall behind, once, and the point is taken again.
    assert [earlier["status"] for earlier in again] in ([], ["INVALID"])
    summary = json.loads((folder / "points/mine" / point["folder"] / "summary.json").read_text())
    # Another process may disturb five sessions on a busy machine, but not what they were told.
    assert summary["load"]["failures_total"] == 0
    assert summary["load"]["partials"] > 20
    assert summary["gateway"]["us_per_session_second"] > 0
    # All that ran on its CPU is what it used itself and more, but for clock ticks of 10 ms in a short window.
    own, all_in = (summary["gateway"][f"{name}us_per_session_second"] for name in ("", "all_in_"))
    assert all_in > 0.8 * own
    (plan,) = (row.plan for row in campaign.rows)
    assert plan is not None
    assert plan.cpus is not None
    receive = "sender" if cannot_steer(plan.cpus.gateway) else "gateway"
    assert (plan.shape and plan.shape.receive) == receive
    assert any("receive = sender" in note for note in summary["notes"]) == (receive == "sender")
    cpus = {str(cpu) for cpu in usable_cpus()}
    assert set(summary["steal_share"] or cpus) == cpus
    assert (tmp_path / "stopped").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"]["mine"]["shape"]["receive"] == receive
    assert manifest["rows"]["mine"]["variant"]["command"][1:3] == ["-m", "variants.asgi"]
    assert not list((tmp_path / "results/.running").glob("*.json"))
