"""Recomputing partials: whose audio was it?"""

import json

import pytest

from loadgen.afterwards.verify import find_wrong_audio
from loadgen.messages import Message, read_message
from tests.loadgen.tiny_gateway import error, partial


def message(session: int, oldest: int, newest: int, **changes: object) -> Message:
    return read_message(json.dumps(partial(session, oldest, newest, **changes)))


def test_the_right_audio() -> None:
    rows = [
        (0, 1.0, message(0, 1, 1)),
        (0, 2.0, message(0, 2, 51)),
        (1199, 2.0, message(1199, 2, 51)),
        (0, 3.0, message(0, 127, 176)),  # the same offset as 2 … 51: one cycle of 125 on
        (0, 4.0, read_message(json.dumps(error(177, 200)))),
        (0, 5.0, message(0, 201, 201, rms=partial(0, 201, 201)["rms"] * (1 + 1e-12))),
    ]
    assert find_wrong_audio(rows) == []


def test_another_sessions_audio_is_wrong() -> None:
    (wrong,) = find_wrong_audio([(7, 1.5, message(8, 1, 50)), (8, 1.6, message(8, 1, 50))])
    assert (wrong.session, wrong.name, wrong.at_s) == (7, "protocol", 1.5)
    assert wrong.detail.startswith("wrong audio: frames 1 … 50: expected checksum")


@pytest.mark.parametrize("name", ["checksum", "zero_crossings", "rms", "transcript"])
def test_each_number_is_checked(name: str) -> None:
    spoiled = {"transcript": "nothing"} if name == "transcript" else {name: partial(0, 1, 50)[name] - 1}
    assert len(find_wrong_audio([(0, 1.0, message(0, 1, 50, **spoiled))])) == 1
