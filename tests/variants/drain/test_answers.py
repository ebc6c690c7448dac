"""HTTP/1.1 answers: whole, in pieces, chunked, without a length, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from variants.drain.answers import AnswerReader, BrokenAnswer, Heads
from variants.shared.inference import ANSWER_LIMIT_BYTES, Answer

BODY = b'{"rms":1.0}'
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 11\r\n\r\n" + BODY
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n"
    + BODY[:4]
    + b"\r\n7;x=y\r\n"
    + BODY[4:]
    + b"\r\n0\r\n\r\n"
)
ANSWERS = {
    "plain": (PLAIN, Answer(200, BODY), True),
    "no reason": (PLAIN.replace(b"200 OK", b"200 "), Answer(200, BODY), True),
    "refusal": (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", Answer(503, b""), True),
    "chunked": (CHUNKED, Answer(200, BODY), True),
    "closes": (PLAIN.replace(b"\r\nC", b"\r\nConnection: Close\r\nC"), Answer(200, BODY), False),
    "keeps": (PLAIN.replace(b"\r\nC", b"\r\nconnection: keep-alive\r\nC"), Answer(200, BODY), True),
    "informed": (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, Answer(200, BODY), True),
    "no body": (b"HTTP/1.1 204 No Content\r\ncontent-length: 11\r\n\r\n", Answer(204, b""), True),
    "two": (PLAIN + b"H", Answer(200, BODY), False),
    "HTTP/1.0": (PLAIN.replace(b"1.1", b"1.0", 1), Answer(200, BODY), False),
}
NONE = {
    "other protocol": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "negative length": PLAIN.replace(b"11", b"-1"),
    "two lengths": PLAIN.replace(b"\r\nC", b"\r\ncontent-length: 12\r\nC"),
    "bad chunk": CHUNKED.replace(b"7;x", b"x;x"),
    "other coding": CHUNKED.replace(b": chunked", b": gzip"),
    "garbage": b"\x00\xff garbage\r\n\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
@given(cuts=st.lists(st.integers(0, 200), max_size=4))
def test_an_answer_is_the_same_in_any_pieces(name: str, cuts: list[int]) -> None:
    data, expected, reusable = ANSWERS[name]
    reader = AnswerReader(Heads())
    if name == "two":  # one byte too many is seen only where it comes with the answer
        cuts = []
    places = sorted({min(cut, len(data) - 1) for cut in cuts} | {0})
    pieces = [data[start:end] for start, end in zip(places, [*places[1:], len(data)], strict=True)]
    answers = [reader.feed(piece) for piece in pieces if piece]
    assert answers == [None] * (len(answers) - 1) + [expected]
    assert reader.reusable is reusable


def test_one_connection_carries_answers_of_all_kinds_in_turn() -> None:
    reader = AnswerReader(Heads())
    for data in (PLAIN, CHUNKED, PLAIN):
        assert reader.feed(data) == Answer(200, BODY)


def test_without_a_length_the_end_of_the_connection_ends_the_answer() -> None:
    reader = AnswerReader(Heads())
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\n" + BODY) is None
    assert reader.feed_eof() == Answer(200, BODY)
    assert not reader.reusable


@pytest.mark.parametrize("length", [ANSWER_LIMIT_BYTES + 1, 8_000_000, 10**17])
def test_nothing_is_kept_of_an_answer_over_the_limit(length: int) -> None:
    head = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: %d\r\n\r\n" % length
    for cuts in ([head + BODY], [head[:9], head[9:] + BODY]):
        reader = AnswerReader(Heads())
        assert [reader.feed(part) for part in cuts][-1] == Answer(503, b"")
        assert not reader.reusable
    whole = b"x" * ANSWER_LIMIT_BYTES
    assert AnswerReader(Heads()).feed(head.replace(b"%d" % length, b"%d" % len(whole)) + whole) == Answer(503, whole)


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_answer_is_refused(name: str) -> None:
    reader = AnswerReader(Heads())
    with pytest.raises(BrokenAnswer):
        reader.feed(NONE[name])


@pytest.mark.parametrize("came", [b"", PLAIN[:20], PLAIN[:-1], CHUNKED[:-1]])
def test_an_end_before_the_answer_is_whole_is_refused(came: bytes) -> None:
    reader = AnswerReader(Heads())
    if came:
        assert reader.feed(came) is None
    with pytest.raises(BrokenAnswer):
        reader.feed_eof()
