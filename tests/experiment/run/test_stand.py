"""Every role of a stand is started with the same few of the user's variables."""

from pathlib import Path

import pytest

from experiment.ask import Address, Ask, resolve_one
from experiment.ask.config import load_config
from experiment.ask.schema import Foreign
from experiment.host import CgroupHost, Run
from experiment.run import stand
from experiment.run.launch import Launch
from experiment.run.probe import ProbeError
from experiment.run.stand import Stand
from tests.speaking import disturb, is_clean, speaker

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_gateways_of_both_kinds_simulator_load_generator_and_rules_see_none_of_the_user_s_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(monkeypatch)
    program = speaker(tmp_path)
    monkeypatch.setattr(stand, "HARNESS_PYTHON", program)
    plan = resolve_one(load_config(), Ask("test", ("gil",), timing="smoke", sessions=(1,), harness="shared"))
    assert plan.variant is not None
    foreign = Foreign(about="somebody else's", command=[str(program)], env={"MINE": "{port}"})
    address = Address("127.0.0.1", 9)
    async with Run(tmp_path, CgroupHost("none", (), ("taken away",), ())) as run:
        for row, logs in ((plan.variant, tmp_path / "ours"), (foreign, tmp_path / "foreign")):
            logs.mkdir()
            async with Stand(run, plan, Launch(row, program, "3.14.7"), logs) as roles:
                with pytest.raises(ProbeError):
                    await roles.gateway(9)
                with pytest.raises(ProbeError):
                    await roles.simulator(9)
                for role in (roles.loadgen(address, 1, tmp_path), roles.conformance(address, 9, None, tmp_path / "x")):
                    assert is_clean("".join([line async for line in role.lines()]))
            assert is_clean((logs / "gateway.log").read_text())
            assert is_clean((logs / "simulator.log").read_text())
            assert ("MINE" in (logs / "gateway.log").read_text()) is (row is foreign)
