"""How long one inference takes: PROTOCOL's service-time model, seeded, so that a run can be repeated.

Pure: settings in, seconds out. No clock and no waiting belong here.
"""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimeSettings:
    """The model's parameters; the defaults are PROTOCOL's. ValueError where one makes no sense."""

    batch_wait_max_ms: float = 20.0
    model_delay_ms: float = 75.0
    """The median of the log-normal part."""
    sigma: float = 0.15
    slow_probability: float = 0.01
    slow_factor: float = 3.0

    def __post_init__(self) -> None:
        for name in ("batch_wait_max_ms", "model_delay_ms", "sigma", "slow_factor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
        if not 0 <= self.slow_probability <= 1:
            raise ValueError(f"slow_probability must lie in [0, 1], got {self.slow_probability}")


class ServiceTimeModel:
    """Draws U(0, batch_wait_max_ms) + L, L log-normal and, with slow_probability, slow_factor times as long.

    Only L is multiplied, not the wait for a batch: it is the model that is slow now and then, not the batching.
    """

    def __init__(self, settings: ServiceTimeSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self._random = random.Random(seed)

    def draw_s(self) -> float:
        """The next request's service time in seconds. Every call takes the same kinds of draw, in the same order."""
        settings = self.settings
        wait_ms = settings.batch_wait_max_ms * self._random.random()
        model_ms = settings.model_delay_ms * self._random.lognormvariate(0.0, settings.sigma)
        if self._random.random() < settings.slow_probability:
            model_ms *= settings.slow_factor
        return (wait_ms + model_ms) / 1000
