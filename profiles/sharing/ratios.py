"""A layout's windows by round."""

from collections.abc import Mapping, Sequence
from typing import Any


def by_round(turns: Sequence[Mapping[str, Any]], layout: str, key: str = "us_per_session_second") -> dict[int, float]:
    """A layout's values by round, of the windows that did not fail."""
    return {each["round"]: each[key] for each in turns if each["layout"] == layout and not each["failed"]}
