"""What became of every frame and every session: cover, counts, and each failure once under one name.

Pure: numbers in, values out; times are seconds since t0. No socket, clock or histogram belongs here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from loadgen.messages import ProtocolViolation

FAILURES = ("connect", "send", "close", "session", "protocol", "inference", "lost", "stalled")


class Failure(NamedTuple):
    """One counted failure."""

    session: int
    name: str
    at_s: float
    detail: str


class ErrorSeen(NamedTuple):
    """One `error` message."""

    at_s: float
    kind: str
    detail: str


class Stall(NamedTuple):
    """A session that stood still while the others went on; `at_s` is its last progress + 3 s."""

    session: int
    at_s: float
    recovered: bool


@dataclass(slots=True)
class SessionLedger:
    """The account of one session. `None` means: it never got there."""

    session: int
    connect_s: float | None = None
    start_s: float | None = None
    watched_until_s: float | None = None  # from here on nothing that comes counts: it failed, gave up or closes
    end_s: float | None = None
    next_seq: int = 1
    due: int = 0
    sent: int = 0
    answered: int = 0
    errored: int = 0
    refused: bool = False
    """The gateway said that it is full: 503 to the upgrade, or 1013 before any answer. Its failure is `connect`."""
    failure: Failure | None = None
    errors: list[ErrorSeen] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Frames that were due and that no message covers."""
        return self.due - self.answered - self.errored

    def cover(self, oldest: int, newest: int, sent: int, *, answered: bool) -> None:
        """Take a message for frames oldest … newest, `sent` frames having left so far. Raises ProtocolViolation."""
        if oldest != self.next_seq:
            what = "gap" if oldest > self.next_seq else "overlap"
            raise ProtocolViolation(
                f"{what} in cover: expected frames from {self.next_seq} on, got {oldest} … {newest}"
            )
        if newest > sent:
            raise ProtocolViolation(f"expected frames up to {sent} at most (sent so far), got {oldest} … {newest}")
        self.next_seq = newest + 1
        if answered:
            self.answered += newest - oldest + 1
        else:
            self.errored += newest - oldest + 1

    def fail(self, name: str, at_s: float, detail: str) -> None:
        """Note the event that ends the session; only the first one stays."""
        if self.failure is None:
            self.failure = Failure(self.session, name, at_s, detail)


def classify(
    ledgers: Iterable[SessionLedger],
    stalls: Mapping[int, Stall],
    wrong_audio: Iterable[Failure],
) -> list[Failure]:
    """Every failure of a run, once each, in order of time.

    Of the events that decide a session (its own failure, its first wrong audio, a stall) the earliest counts and the
    others do not. Each `error` message counts as `inference`, unless it came after a stall that counts: a stalled
    session counts as nothing later. `lost` counts where a session has no other failure at all.
    """
    first_wrong: dict[int, Failure] = {}
    for wrong in wrong_audio:
        known = first_wrong.get(wrong.session)
        if known is None or wrong.at_s < known.at_s:
            first_wrong[wrong.session] = wrong
    failures: list[Failure] = []
    for ledger in ledgers:
        deciding = [event for event in (ledger.failure, first_wrong.get(ledger.session)) if event is not None]
        stall = stalls.get(ledger.session)
        if stall is not None:
            after = "recovered later" if stall.recovered else "never recovered"
            deciding.append(Failure(ledger.session, "stalled", stall.at_s, f"no progress on due frames; {after}"))
        own = [min(deciding, key=lambda event: event.at_s)] if deciding else []
        silent_from_s = own[0].at_s if own and own[0].name == "stalled" else float("inf")
        own += [
            Failure(ledger.session, "inference", error.at_s, error.detail)
            for error in ledger.errors
            if error.at_s <= silent_from_s
        ]
        if ledger.lost and not own:
            at_s = ledger.watched_until_s if ledger.watched_until_s is not None else 0.0
            own.append(Failure(ledger.session, "lost", at_s, f"{ledger.lost} of {ledger.due} due frames never covered"))
        failures += own
    return sorted(failures, key=lambda failure: failure.at_s)
