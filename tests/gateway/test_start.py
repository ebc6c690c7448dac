"""The first message of a connection: every spelling of the start object, and every near miss."""

import pytest

from gateway import Close, Session, SessionMisuse, SessionSettings

SPELLINGS = [
    '{"type":"start"}',
    ' \t\r\n{ "type" \n:\r\t"start" } \n',
    '{"\\u0074ype":"start"}',
    '{"type":"\\u0073\\u0074art"}',
]

NEAR_MISSES = {
    "empty": "",
    "spaces": "   ",
    "not JSON": "start",
    "half of it": '{"type":"start"',
    "single quotes": "{'type':'start'}",
    "trailing text": '{"type":"start"}x',
    "two objects": '{"type":"start"}{"type":"start"}',
    "trailing comma": '{"type":"start",}',
    "byte order mark": '\ufeff{"type":"start"}',
    "null": "null",
    "string": '"start"',
    "number": "1",
    "array": '["type","start"]',
    "array of pairs": '[["type","start"]]',
    "array of the object": '[{"type":"start"}]',
    "empty object": "{}",
    "empty array": "[]",
    "partial": '{"type":"partial"}',
    "error": '{"type":"error"}',
    "stop": '{"type":"stop"}',
    "other case": '{"type":"Start"}',
    "other key case": '{"Type":"start"}',
    "trailing space": '{"type":"start "}',
    "null type": '{"type":null}',
    "true type": '{"type":true}',
    "list type": '{"type":["start"]}',
    "nested": '{"type":{"type":"start"}}',
    "extra key": '{"type":"start","rate":16000}',
    "extra key first": '{"rate":16000,"type":"start"}',
    "extra null key": '{"type":"start","":null}',
    "key twice": '{"type":"partial","type":"start"}',
    "number too long": '{"type":' + "9" * 5000 + "}",
    "too deep": "[" * 100_000,
}


def fresh() -> Session:
    return Session(SessionSettings(), 0.0)


@pytest.mark.parametrize("message", SPELLINGS)
def test_every_spelling_starts(message: str) -> None:
    session = fresh()
    assert session.start(message, 5.0) is None
    assert session.started
    assert session.next_due_s == 6.0


@pytest.mark.parametrize("message", NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_a_near_miss_closes_with_1002(message: str) -> None:
    session = fresh()
    close = session.start(message, 0.0)
    assert isinstance(close, Close)
    assert close.code == 1002
    assert not session.started


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("message", [b"", b'{"type":"start"}', bytes(640)])
def test_a_binary_first_message_closes_with_1002(kind: type, message: bytes) -> None:
    close = fresh().start(kind(message), 0.0)
    assert isinstance(close, Close)
    assert close.code == 1002


@pytest.mark.parametrize("message", [*NEAR_MISSES.values(), "é" * 1000, bytes(100_000)])
def test_the_reason_fits_into_a_close_frame(message: str | bytes) -> None:
    close = fresh().start(message, 0.0)
    assert close is not None
    assert 0 < len(close.reason.encode()) <= 123


def test_a_second_start_is_misuse() -> None:
    session = fresh()
    session.start(SPELLINGS[0], 0.0)
    with pytest.raises(SessionMisuse, match="twice"):
        session.start(SPELLINGS[0], 1.0)
