"""The samples of a run: one row for each message that covers frames, as a NumPy table.

Pure: rows in, tables out. Workers keep plain tuples while they run; the table is made afterwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from loadgen.messages import Message, Partial
from loadgen.schedule import Timing, due_s

# (session, arrival in seconds since t0, the message)
Row = tuple[int, float, Message]
Table = npt.NDArray[Any]

SAMPLE = np.dtype(
    [
        ("session", "<u4"),
        ("arrival_s", "<f8"),
        ("oldest_seq", "<u4"),
        ("newest_seq", "<u4"),
        ("oldest_due_s", "<f8"),
        ("newest_due_s", "<f8"),
        ("oldest_ms", "<f8"),
        ("newest_ms", "<f8"),
        ("flush_lateness_ms", "<f8"),
        ("checksum", "<u4"),  # 0 where is_partial is False
        ("is_partial", "?"),
    ]
)


def tabulate(rows: Sequence[Row], starts_s: Mapping[int, float]) -> Table:
    """Rows as a table. Latencies run from a frame's due time to the message's arrival, in milliseconds."""
    table = np.empty(len(rows), dtype=SAMPLE)
    for place, (session, arrival_s, message) in enumerate(rows):
        start_s = starts_s[session]
        oldest_due_s, newest_due_s = due_s(start_s, message.oldest), due_s(start_s, message.newest)
        is_partial = isinstance(message, Partial)
        table[place] = (
            session,
            arrival_s,
            message.oldest,
            message.newest,
            oldest_due_s,
            newest_due_s,
            (arrival_s - oldest_due_s) * 1000,
            (arrival_s - newest_due_s) * 1000,
            message.flush_lateness_ms,
            message.checksum if isinstance(message, Partial) else 0,
            is_partial,
        )
    return table


def merge(tables: Iterable[Table]) -> Table:
    """All workers' samples together, in order of arrival."""
    merged = np.concatenate([np.empty(0, dtype=SAMPLE), *tables])
    return merged[np.argsort(merged["arrival_s"], kind="stable")]


def due_in_window(samples: Table, frame: str, timing: Timing) -> Table:
    """The partials whose "newest" or "oldest" frame was due in the measured window, whenever they arrived: a gateway
    cannot hide a standstill by answering after it (PROTOCOL, section 4)."""
    due = samples[f"{frame}_due_s"]
    within = (due >= timing.measure_start_s) & (due < timing.end_s)
    found: Table = samples[samples["is_partial"] & within]
    return found
