"""Percentiles as the contract has them: the nearest rank, ceil(p · n) (PROTOCOL, section 4). Pure."""

import numpy as np
import numpy.typing as npt


def rank_of(percent: int, count: int) -> int:
    """The rank, from 1, of a percentile (1 … 100) among `count` values, at least 1: whole numbers, so exact."""
    return -(-percent * count // 100)


def nearest_rank(values: npt.ArrayLike, percent: int) -> float:
    """The value at that rank. Raises ValueError without a value."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not len(ordered):
        raise ValueError("a percentile of nothing")
    return float(ordered[rank_of(percent, len(ordered)) - 1])
