"""One point as it was stored (`summary.json`, or its part of the evidence), typed. Missing is None."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiment.terms import GATES, Gate, Status

_KEY_OF_NAME = {f"{name} {unit}".rstrip(): key for key, (name, unit) in GATES.items()}
"""Runs before November 2026 stored a gate under its name for a person."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one latency, in ms."""

    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "Percentiles":
        known = stored or {}
        return cls(known.get("p50"), known.get("p95"))


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw."""

    newest_ms: Percentiles
    oldest_ms: Percentiles
    partials: int | None
    failures_total: int | None
    stalls: int | None

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> "Load":
        """All None where it wrote no summary."""
        known = stored or {}
        return cls(
            Percentiles.of(known.get("newest_ms")),
            Percentiles.of(known.get("oldest_ms")),
            known.get("partials"),
            known.get("failures_total"),
            (known.get("stalls") or {}).get("count"),
        )


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the gateway used in the measured window."""

    us_per_session_second: float | None
    all_in_us_per_session_second: float | None
    """All that ran on its CPUs, soft interrupts and others included; None where the harness ran there too."""
    cpu: float | None
    """vCPUs."""
    rss_bytes_max: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """One number of sessions against a fresh gateway."""

    sessions: int
    status: Status
    purpose: str
    """`listed-<slot>` or `ladder`."""
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    harness: tuple[Gate, ...]
    load: Load
    gateway: Gateway | None
    """None for one that we did not start."""
    core_speed: Mapping[str, float] | None
    stored: Mapping[str, Any]
    """All of it, for the evidence."""

    @property
    def cost_us(self) -> float | None:
        """CPU of the gateway in µs per session-second."""
        return None if self.gateway is None else self.gateway.us_per_session_second

    @property
    def all_in_us(self) -> float | None:
        """CPU of everything that ran on the gateway's CPUs, in µs per session-second."""
        return None if self.gateway is None else self.gateway.all_in_us_per_session_second

    @property
    def is_listed(self) -> bool:
        """Whether it was asked for, and not chosen by a ladder."""
        return self.purpose.startswith("listed")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Point":
        """From `summary.json` with its purpose, or from evidence."""
        gateway = stored.get("gateway")
        return cls(
            sessions=stored["sessions"],
            status=stored["status"],
            purpose=str(stored.get("purpose", "")),
            reasons=tuple(stored["reasons"]),
            notes=tuple(stored.get("notes") or ()),
            harness=tuple(_gate(each) for each in stored["harness"]),
            load=Load.of(stored.get("load")),
            gateway=None
            if gateway is None
            else Gateway(
                gateway.get("us_per_session_second"),
                gateway.get("all_in_us_per_session_second"),
                gateway.get("cpu"),
                gateway.get("rss_bytes_max"),
            ),
            core_speed=stored.get("core_speed"),
            stored=stored,
        )


def _gate(stored: Mapping[str, Any]) -> Gate:
    key = stored.get("key") or _KEY_OF_NAME[stored["name"]]
    return Gate(key, stored["limit"], stored["measured"])
