"""Which point comes next: the listed ones, then a ladder; and whose turn it is. Pure. Re-exports only."""

from experiment.search.ladder import Move, bracket
from experiment.search.points import Search, turn
from experiment.search.start import expected_rung

__all__ = ["Move", "Search", "bracket", "expected_rung", "turn"]
