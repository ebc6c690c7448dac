"""`GET /metrics`: the tallies of all of a gateway's event loops together, as Prometheus reads them.

Whichever loop is asked answers for all, and they may be threads or processes. So their tallies lie in one anonymous
file that all of them map. Shared: that memory. Each event loop writes a row of its own, in cache lines of its own, and
nobody else does; whoever is asked reads all rows, without a lock: two counts of one answer may be microseconds apart.
"""

import ctypes
import fcntl
import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from gateway import ERRORS, FRAME_BYTES, INFERENCE_BOUNDS_MS, LATENESS_BOUNDS_MS, Tally
from variants.shared.build import gil_enabled

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_ENVIRONMENT_KEY = "GATEWAY_LAB_TALLIES"
_ROW_BYTES = 1024
_SPARE_ROWS = 64
"""For workers that a server starts again."""


class _Row(Tally, ctypes.Structure):
    """A tally whose numbers lie in a row of the shared memory. Its buckets are views of fields: ctypes would make an
    object for each access."""

    _fields_ = tuple(
        (f"{name}_", ctypes.c_int64 * len(value))
        if isinstance(value, list)
        else (name, ctypes.c_double if isinstance(value, float) else ctypes.c_int64)
        for name, value in vars(Tally()).items()
    )

    @classmethod
    def at(cls, memory: mmap.mmap, place: int) -> Tally:
        row = cls.from_buffer(memory, place * _ROW_BYTES)
        for name, value in vars(Tally()).items():
            if isinstance(value, list):
                setattr(row, name, memoryview(getattr(row, f"{name}_")).cast("B").cast("q"))
        return row


class Page(Collector, ABC):
    """What a gateway has counted, in Prometheus' words."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    @property
    @abstractmethod
    def loops(self) -> int:
        """Event loops that have begun."""

    @abstractmethod
    def rows(self) -> list[Tally]:
        """Tallies of everybody who counts."""

    def page(self) -> bytes:
        """All of them together, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What `page` says, by Prometheus' names and in its units (seconds, bytes)."""
        rows = self.rows()

        def total(name: str) -> float:
            return float(sum(getattr(row, name) for row in rows))

        def by_place(name: str) -> list[int]:
            return [sum(values) for values in zip(*(getattr(row, name) for row in rows), strict=True)]

        for name, about, value in (
            ("gateway_event_loops", "Event loops that have begun", self.loops),
            ("gateway_gil_enabled", "Whether this interpreter runs with the GIL", float(gil_enabled())),
            ("gateway_connections", "WebSockets that are open", total("connections")),
            ("gateway_inferences_in_flight", "Requests to the inference server", total("inferences")),
            ("gateway_backlog_frames", "Frames that ticks left in the buffers", total("backlog_frames")),
        ):
            yield GaugeMetricFamily(name, about, value=value)
        for name, about, value in (
            ("gateway_connected", "WebSockets let in", total("connected")),
            ("gateway_refused", "Clients not let in, the gateway being full", total("refused")),
            ("gateway_frames", "Frames of audio that ticks found", total("frames")),
            ("gateway_audio_bytes", "Their bytes", total("frames") * FRAME_BYTES),
            ("gateway_overflow_frames", "Of those, dropped because a buffer was full", total("overflow_frames")),
            ("gateway_flushes", "Batches handed over", total("flushes")),
            ("gateway_exceptions", "Unexpected exceptions, each of which ended one connection", total("exceptions")),
        ):
            yield CounterMetricFamily(name, about, value=value)
        skipped = CounterMetricFamily("gateway_flushes_skipped", "Ticks that sent nothing", labels=("reason",))
        for reason in ("in_flight", "outbox", "empty"):
            skipped.add_metric((reason,), total(f"skipped_{reason}"))
        yield skipped
        errors = CounterMetricFamily("gateway_errors", "Error messages", labels=("stage", "kind"))
        for labels, count in zip(ERRORS, by_place("errors"), strict=False):
            if count:
                errors.add_metric(labels, count)
        yield errors
        late, took = by_place("lateness"), by_place("inference")
        late_s, took_s = total("lateness_ms") / 1000, total("inference_ms") / 1000
        about = "How late a loop served a tick"
        yield _histogram("gateway_flush_lateness_seconds", about, LATENESS_BOUNDS_MS, late, late_s)
        yield _histogram("gateway_inference_seconds", "From a flush to its outcome", INFERENCE_BOUNDS_MS, took, took_s)


class Tallies(Page):
    """The rows of one gateway: the first holds how many are taken."""

    def __init__(self, path: str) -> None:
        """`path` is of the file that the gateway's main process made."""
        self._path = path
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._taken = ctypes.c_int64.from_buffer(self._memory)
        super().__init__()

    @classmethod
    def create(cls, loops: int) -> Self:
        """Of a gateway's main process, which keeps the file for as long as it lives: nothing of it is left behind."""
        descriptor = os.memfd_create("gateway-tallies")
        os.ftruncate(descriptor, (1 + loops + _SPARE_ROWS) * _ROW_BYTES)
        return cls(f"/proc/{os.getpid()}/fd/{descriptor}")

    def to_environment(self) -> None:
        """Leave them to the workers that this process is about to spawn."""
        os.environ[_ENVIRONMENT_KEY] = self._path

    @classmethod
    def from_environment(cls) -> Self:
        """In a worker."""
        return cls(os.environ[_ENVIRONMENT_KEY])

    def take(self) -> Tally:
        """A row for an event loop, which asks once. Raises RuntimeError when all are taken."""
        with open(self._path, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # by open file: it holds off threads, and processes
            place = self._taken.value + 1
            if (place + 1) * _ROW_BYTES > len(self._memory):
                raise RuntimeError(f"{place - 1} event loops have begun; expected no more than that")
            self._taken.value = place
        return _Row.at(self._memory, place)

    @property
    def loops(self) -> int:
        return self._taken.value

    def rows(self) -> list[Tally]:
        places = range(1, self._taken.value + 1)
        return [_Row.at(self._memory, place) for place in places]


@contextmanager
def counted(tally: Tally) -> Iterator[None]:
    """A WebSocket that was let in, while it is served; and the exception that nobody expected, if one ends it."""
    tally.enter()
    try:
        yield
    except Exception:
        tally.exceptions += 1
        raise
    finally:
        tally.leave()


def add(to: Tally, more: Tally) -> None:
    """Count in `to` what `more` has counted."""
    for name, value in vars(more).items():
        if isinstance(value, list):
            getattr(to, name)[:] = [a + b for a, b in zip(getattr(to, name), value, strict=True)]
        else:
            setattr(to, name, getattr(to, name) + value)


def _histogram(
    name: str, about: str, bounds_ms: Iterable[int], counts: Sequence[int], sum_s: float
) -> HistogramMetricFamily:
    buckets, so_far = [], 0
    for bound_s, count in zip((*(f"{bound / 1000:g}" for bound in bounds_ms), "+Inf"), counts, strict=False):
        so_far += count
        buckets.append((bound_s, so_far))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=sum_s)
