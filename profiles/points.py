"""What a point has stored, as values: the load's answers, and the gateway's readings."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    """One message to a session of the load: when it came (s of the load's clock, which begins with the first connect),
    how late its newest frame was (ms), and what it was."""

    arrival_s: float
    newest_ms: float
    is_error: bool
    in_window: bool = True
    """Whether its newest frame was due in the measured window."""


def answers(samples: Path) -> Iterator[Answer]:
    """Of samples.csv, in its order; none where there is no such file."""
    with suppress(FileNotFoundError), samples.open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] in ("partial", "error"):
                is_error, in_window = row["kind"] == "error", row["newest_in_window"] == "1"
                yield Answer(float(row["arrival_s"]), float(row["newest_ms"]), is_error, in_window)


def readings(resources: Path, column: str) -> list[tuple[float, float]]:
    """One of the gateway's columns of resources.csv, where it was read: seconds since the sampler's first look, which
    is the beginning of the load's clock to within a second, and the value."""
    with resources.open(encoding="ascii", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "gateway"]
    return [(float(row["at_s"]) - float(rows[0]["at_s"]), float(row[column])) for row in rows if row[column]]
