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
        ("is_closing", "?"),  # it covers its session's last frame
    ]
)


def tabulate(rows: Sequence[Row], starts_s: Mapping[int, float], frames_due: Mapping[int, int]) -> Table:
    """Rows as a table. Latencies run from a frame's due time to the message's arrival, in milliseconds.

    `starts_s` and `frames_due`: each session's start, and how many frames were due of it until its audio ended.
    """
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
            message.newest == frames_due[session],
        )
    return table


def merge(tables: Iterable[Table]) -> Table:
    """All workers' samples together, in order of arrival."""
    merged = np.concatenate([np.empty(0, dtype=SAMPLE), *tables])
    return merged[np.argsort(merged["arrival_s"], kind="stable")]


def due_in_window(samples: Table, frame: str, timing: Timing) -> Table:
    """The partials whose "newest" or "oldest" frame was due in the measured window, whenever they arrived: a gateway
    cannot hide a standstill by answering after it (PROTOCOL, section 4)."""
    found: Table = samples[is_in_window(samples, frame, timing)]
    return found


def is_in_window(samples: Table, frame: str, timing: Timing) -> npt.NDArray[np.bool_]:
    """Which samples `due_in_window` takes.

    A session's last frame is in no newest window. No audio comes after it, so it waits for the next tick, up to a whole
    flush interval, where any other newest frame waits less than 20 ms: that wait is the contract's, not the gateway's.
    The partial that covers it counts by its oldest frame, which waits for its tick as in the middle of a stream.
    """
    within: npt.NDArray[np.bool_] = samples["is_partial"] & timing.measures(samples[f"{frame}_due_s"])
    return within & ~samples["is_closing"] if frame == "newest" else within
