"""Stalls as events over exposure: rates and their intervals, survival, ratios, and what a run of given size would show.

Pure: counts in, numbers out, by SciPy and lifelines. Reading runs is the caller's business; nothing here opens a file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lifelines import KaplanMeierFitter
from scipy import stats

FRAMES_PER_SESSION_SECOND = 50.0
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class PoissonRate:
    """Events per unit of exposure (frames, awaits, session-seconds), with a two-sided interval."""

    events: int
    exposure: float
    rate: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        per_million = f"{self.rate * 1e6:.3g} (95 % {self.low * 1e6:.3g} – {self.high * 1e6:.3g}) per million"
        return f"{self.events} in {self.exposure:,.0f}: {per_million}"


@dataclass(frozen=True, slots=True)
class RateRatio:
    """One rate over another. `ratio` is None where the second saw no event: the interval is still one-sided good."""

    ratio: float | None
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Survival:
    """A Kaplan–Meier curve: the share of sessions that had not stalled after so many frames, with its interval."""

    frames: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def poisson_rate(events: int, exposure: float, confidence: float = CONFIDENCE) -> PoissonRate:
    """Rate with the exact interval of Garwood (Biometrika 28, 1936), from the chi-squared distribution.

    Raises:
        ValueError: no exposure, or a negative count.
    """
    _check(events, exposure)
    tail = (1 - confidence) / 2
    low = stats.chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    high = stats.chi2.isf(tail, 2 * (events + 1)) / 2
    return PoissonRate(events, exposure, events / exposure, float(low / exposure), float(high / exposure), confidence)


def rate_ratio(first: PoissonRate, second: PoissonRate, confidence: float = CONFIDENCE) -> RateRatio:
    """`first` over `second`. Given their sum, the first count is binomial; exact (Clopper–Pearson) interval and
    two-sided p-value for "the rates are equal" (Przyborowski and Wilenski, Biometrika 31, 1940).

    Raises:
        ValueError: neither saw an event, so that nothing is known about the ratio.
    """
    total = first.events + second.events
    if total == 0:
        raise ValueError("ratio of two rates: expected an event in one of them at least, got none in both")
    equal = first.exposure / (first.exposure + second.exposure)
    test = stats.binomtest(first.events, total, equal)
    shares = test.proportion_ci(confidence, method="exact")
    scale = second.exposure / first.exposure

    def odds(share: float) -> float:
        return math.inf if share >= 1 else share / (1 - share) * scale

    ratio = first.rate / second.rate if second.events else None
    return RateRatio(ratio, odds(float(shares.low)), odds(float(shares.high)), float(test.pvalue))


def survival(frames: Sequence[float], stalled: Sequence[bool], confidence: float = CONFIDENCE) -> Survival:
    """Kaplan–Meier over frames: one entry per session, `stalled` False where it was censored at its end."""
    if len(frames) != len(stalled) or not frames:
        raise ValueError(f"survival: expected as many flags as frame counts, got {len(frames)} and {len(stalled)}")
    fitter = KaplanMeierFitter(alpha=1 - confidence).fit(list(frames), list(stalled))
    curve, limits = fitter.survival_function_, fitter.confidence_interval_survival_function_
    return Survival(
        tuple(float(at) for at in curve.index),
        tuple(float(share) for share in curve.iloc[:, 0]),
        tuple(float(share) for share in limits.iloc[:, 0]),
        tuple(float(share) for share in limits.iloc[:, 1]),
    )


def chance_of_none(rate_per_frame: float, sessions: int, seconds: float) -> float:
    """The chance that a run of so many sessions over so many seconds shows no stall at all."""
    frames = sessions * seconds * FRAMES_PER_SESSION_SECOND
    return float(stats.poisson.pmf(0, rate_per_frame * frames))


def reported_ceiling(rate_per_frame: float, seconds: float, chance: float = 0.5) -> float:
    """The most sessions that still pass runs of `seconds` with at least `chance`, where nothing but stalls fails them:
    the "ceiling" that a hazard per frame is taken for. Infinite at rate 0."""
    if rate_per_frame <= 0:
        return math.inf
    return float(stats.expon.isf(chance)) / (rate_per_frame * seconds * FRAMES_PER_SESSION_SECOND)


def exposure_to_clear(reference: PoissonRate, fraction: float = 0.1, confidence: float = CONFIDENCE) -> float:
    """How much exposure without an event puts the upper limit of its `rate_ratio` to the reference under `fraction`: so
    much it takes to call something unaffected. With none of k + 0 events, that limit is the odds of 1 − (α/2)^(1/k),
    scaled by the exposures (Clopper–Pearson).

    Raises:
        ValueError: the reference saw no event, so that nothing can be cleared by it.
    """
    if not reference.events:
        raise ValueError("expected a reference with an event, got one without")
    share: float = 1 - ((1 - confidence) / 2) ** (1 / reference.events)
    return reference.exposure * share / (1 - share) / fraction


def _check(events: int, exposure: float) -> None:
    if events < 0 or not exposure > 0:
        raise ValueError(f"rate: expected events ≥ 0 over an exposure > 0, got {events} over {exposure:g}")
