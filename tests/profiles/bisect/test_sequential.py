"""The sequential tests decide as they promise, on rates and ratios that are known because they were drawn."""

import math

import numpy as np
import pytest

from profiles.bisect.sequential import CostTest, StallTest

STALLING = StallTest(stalling=38e-6, sound=3.8e-6, error=0.01)


def decided(test: StallTest, rate: float, generator: np.random.Generator) -> tuple[str, int]:
    stalls = frames = 0
    while True:
        frames += 2000
        stalls += int(generator.poisson(rate * 2000))
        decision = test.decide(stalls, frames)
        if decision is not None:
            return decision, frames


@pytest.mark.parametrize(("rate", "right"), [(38e-6, "changed"), (3.8e-6, "unchanged")])
def test_its_errors_are_at_most_as_stated(rate: float, right: str) -> None:
    generator = np.random.default_rng(7)
    wrong = sum(decided(STALLING, rate, generator)[0] != right for _ in range(600))
    assert wrong <= 14  # of 600, 6 are expected; 15 or more have probability 0.002


def test_without_a_stall_it_takes_as_many_frames_as_it_says() -> None:
    assert STALLING.decide(0, math.ceil(STALLING.frames_if_sound)) == "unchanged"
    assert STALLING.decide(0, math.floor(STALLING.frames_if_sound) - 1) is None
    assert STALLING.frames_if_sound == pytest.approx(math.log(99) / 34.2e-6)


def test_far_from_the_limit_it_takes_fewer() -> None:
    generator = np.random.default_rng(7)
    many, few = (np.mean([decided(STALLING, rate, generator)[1] for _ in range(50)]) for rate in (38e-6, 380e-6))
    assert few < many / 4


def cost(ratio: float = 1.05, spread: float = 0.01) -> CostTest:
    return CostTest(ratio, 0.01, least_spread=spread, least_pairs=3)


def test_a_cost_is_told_from_none_and_not_before_there_are_pairs_enough() -> None:
    assert cost().decide([1.05, 1.05]) is None
    assert cost().decide([1.05, 1.052, 1.048]) == "changed"
    assert cost().decide([1.0, 1.004, 0.996]) == "unchanged"
    assert cost().decide([1.02, 1.03, 1.025]) is None
    assert cost(0.95).decide([0.95, 0.951, 0.949]) == "changed"
    assert cost(0.95).decide([1.0, 1.01, 0.99]) == "unchanged"


def test_a_wide_spread_takes_more_pairs() -> None:
    wide = [1.20, 0.95, 1.00]
    assert cost().decide(wide) is None
    generator = np.random.default_rng(7)
    ratios = [float(each) for each in np.exp(generator.normal(math.log(1.05), 0.05, 60))]
    assert cost(spread=0.05).decide(ratios[:5]) is None
    assert cost().decide(ratios) == "changed"
