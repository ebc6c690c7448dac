"""Recomputing every partial after the run: was it this session's audio that the gateway answered for?

Pure: rows in, failures out. It shares the stub's arithmetic with the simulator and nothing with any gateway.
"""

import math
from collections.abc import Iterable

from loadgen.frames import audio_at, offset_of
from loadgen.ledger import Failure
from loadgen.messages import CPU_PASSES, Partial
from loadgen.samples import Row
from simulator.stub import Prediction, predict

# rms is a quotient's root: its last digits depend on how a gateway's JSON writer rounds, the integers' do not.
_RMS_TOLERANCE = 1e-9


def find_wrong_audio(rows: Iterable[Row]) -> list[Failure]:
    """One `protocol` failure, "wrong audio", for each partial whose numbers are not those of its session's frames."""
    known: dict[tuple[int, int], Prediction] = {}
    wrong: list[Failure] = []
    for session, arrival_s, message in rows:
        if not isinstance(message, Partial):
            continue
        key = (offset_of(session, message.oldest), message.newest - message.oldest + 1)
        expected = known.get(key)
        if expected is None:
            expected = known[key] = predict(audio_at(*key), CPU_PASSES)
        if (
            message.checksum != expected.checksum
            or message.zero_crossings != expected.zero_crossings
            or message.transcript != expected.transcript
            or not math.isclose(message.rms, expected.rms, rel_tol=_RMS_TOLERANCE)
        ):
            wrong.append(
                Failure(
                    session,
                    "protocol",
                    arrival_s,
                    f"wrong audio: frames {message.oldest} … {message.newest}: expected checksum {expected.checksum}, "
                    f"zero_crossings {expected.zero_crossings}, rms {expected.rms!r}, {expected.transcript!r}; got "
                    f"checksum {message.checksum}, zero_crossings {message.zero_crossings}, rms {message.rms!r}, "
                    f"{message.transcript!r}",
                )
            )
    return wrong
