"""What is fuzzed: from any bytes to a parser and its oracle. A target raises nothing where the parser is right.

The first bytes of an input say in what pieces the rest comes. Targets keep no state from one input to the next.
"""

import json
import re
from collections.abc import Callable

from gateway import BadPrediction, Infer, prediction_members
from gateway.messages import start_fault
from gateway.prediction import parse_prediction
from tests.fuzz.answers import check
from tests.fuzz.framing import drained, plain
from variants.drain.decoder import WIRE_BYTES
from variants.shared.h2_streams import H2Streams, Outcome


def _cuts(size: int, length: int) -> range:
    """Every `size` bytes; 0: nowhere; 255: every frame of audio."""
    return range(0) if size == 0 else range(0, length, WIRE_BYTES if size == 255 else size)


def decoder(data: bytes) -> None:
    """Frames: what websockets makes of them byte by byte. First bytes: size of pieces; which may be left, and whether
    we close at what is no audio."""
    size, flags = (*data[:2], 0, 0)[:2]
    data = data[2:]
    leaves = [bool(flags >> bit & 1) for bit in range(1, 8)]
    closes = bool(flags & 1)
    assert drained(data, _cuts(size, len(data)), leaves, closes=closes) == plain(data, closes=closes)


def answers(data: bytes) -> None:
    """An HTTP/1 answer, whole and in pieces: http.client's reading. First byte: size of pieces."""
    check(data[1:], _cuts((data[0] if data else 0) or 1, len(data) - 1))


def streams(data: bytes) -> None:
    """What an HTTP/2 server sends to three requests: each is told once what came of it, in whatever pieces, and the
    same. First bytes: size of pieces; after which of them the second request is given up."""
    size, given_up = (*data[:2], 0, 0)[:2]
    data = data[2:]
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    whole, cut = _serve([data], None), _serve(pieces, None)
    if whole is not None and cut is not None:
        assert whole == cut
    else:
        assert whole is cut
    if given_up < len(pieces):
        _serve(pieces, given_up)


_BATCHES = [Infer([bytes(640 * frames)], 640 * frames, 4) for frames in (1, 1, 120)]
"""The last has to wait for the server's window."""


def _serve(pieces: list[bytes], given_up: int | None) -> list[Outcome[str]] | None:
    """The outcomes of three requests, the connection's end included; None where it broke."""
    client = H2Streams[str]("inference:1")
    names = ("first", "second", "third")
    begun = [client.begin(batch, name) for batch, name in zip(_BATCHES, names, strict=True)]
    outcomes: list[Outcome[str]] = []
    for number, piece in enumerate(pieces):
        if number == given_up:
            client.cancel(begun[1])
        outcomes += client.receive(piece)
        client.data_to_send()
        if client.broken is not None:
            break
    assert client.has_room <= client.usable
    outcomes += client.lose("ended")
    told = [outcome.token for outcome in outcomes]
    assert len(told) == len(set(told))
    assert set(names) - set(told) <= ({"second"} if given_up is not None else set())
    assert client.idle
    assert not client.usable
    return None if client.broken is not None else outcomes


_SPACE = r"[ \t\n\r]*"
_TYPE, _START = (
    '"' + "".join(rf"(?:{letter}|\\u00(?i:{ord(letter):02x}))" for letter in word) + '"' for word in ("type", "start")
)
_IS_START = re.compile(
    _SPACE + r"\{" + _SPACE + _TYPE + _SPACE + ":" + _SPACE + _START + _SPACE + r"\}" + _SPACE
).fullmatch


def start(data: bytes) -> None:
    """A start message: every spelling of it that JSON has, and nothing else."""
    assert start_fault(data) is not None
    text = data.decode(errors="replace")
    assert (start_fault(text) is None) == (_IS_START(text) is not None)


def prediction(data: bytes) -> None:
    """A prediction: what is passed on of an answer in any spelling is what JSON says. First byte: frames sent."""
    audio_bytes = 640 * (data[0] if data else 0)
    data = data[1:]
    try:
        members = prediction_members(data, audio_bytes)
    except BadPrediction:
        members = None
    try:
        read = parse_prediction(data, audio_bytes)
    except BadPrediction:
        assert members is None
        return
    assert members is not None
    passed_on, told = json.loads(f"{{{members}}}"), json.loads(data)
    assert passed_on == told | {"rms": float(told["rms"])} == read._asdict()
    assert list(passed_on) == list(read._fields)
    assert [type(value) for value in passed_on.values()] == [float, int, int, int, str, int]


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (decoder, answers, streams, start, prediction)
}
