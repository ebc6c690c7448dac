"""The stub against PROTOCOL's golden values and a slow reference that follows its words one by one."""

import ast
import json
import math
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import service_time, stub
from simulator.stub import LANES, OddBody, Prediction, predict, predict_together

# fmt: off
WORDS = (
    "the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "hello", "world", "yes", "no",
    "okay", "right", "left", "stop", "go", "wait", "ready", "done", "again", "now", "later", "never",
)
# fmt: on


def frame(session: int, sequence: int) -> bytes:
    samples = (((sequence * 320 + session + k) * 17 % 20_000) - 10_000 for k in range(320))
    return struct.pack("<320h", *samples)


def slow_reference(body: bytes, passes: int) -> Prediction:
    samples = struct.unpack(f"<{len(body) // 2}h", body)
    h, crossings, squares = 2166136261, 0, 0
    previous: int | None = None
    for p in range(passes):
        for x in samples:
            h = ((h ^ ((x + 32768 + p) & 0xFFFF)) * 16777619) % 2**32
            if previous is not None and (x >= 0) != (previous >= 0):
                crossings += 1
            previous = x
            squares += x * x
    total = passes * len(samples)
    return Prediction(math.sqrt(squares / total), crossings, h, total, WORDS[h % 24], len(body))


def test_golden_values() -> None:
    assert predict(frame(0, 1), 4) == Prediction(
        rms=2425.5023191083533,
        zero_crossings=7,
        checksum=1745339397,
        samples=1280,
        transcript="now",
        audio_bytes=640,
    )


@settings(deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=200), st.integers(1, 6))
def test_equals_the_slow_reference(samples: list[int], passes: int) -> None:
    body = struct.pack(f"<{len(samples)}h", *samples)
    assert predict(body, passes) == slow_reference(body, passes)


def test_equals_the_slow_reference_on_a_second_of_audio() -> None:
    body = b"".join(frame(3, n) for n in range(1, 51))
    assert predict(body, 4) == slow_reference(body, 4)


def test_extreme_samples_do_not_overflow() -> None:
    body = struct.pack("<h", -32768) * 48_000  # 30 batches' worth: the largest sum a buffer of audio gives
    assert predict(body, 4).rms == 32768.0


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00" * 641])
def test_refuses_what_is_no_audio(body: bytes) -> None:
    with pytest.raises(OddBody, match=f"got {len(body)}$"):
        predict(body, 4)


def test_refuses_no_passes() -> None:
    with pytest.raises(ValueError, match="at least 1 pass, got 0"):
        predict(b"\x00\x00", 0)


def test_takes_any_buffer() -> None:
    body = frame(0, 1)
    assert predict(memoryview(body), 4) == predict(bytearray(body), 4) == predict(body, 4)


def test_json_has_exactly_the_answer() -> None:
    prediction = predict(frame(0, 1), 4)
    assert json.loads(prediction.to_json()) == prediction._asdict()


@pytest.mark.parametrize("module", [stub, service_time])
def test_is_pure(module: object) -> None:
    """Imports nothing that could read a clock, the machine or the network, and no neighbour."""
    source = Path(str(module.__file__)).read_text()  # type: ignore[attr-defined]
    imported = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert imported <= {"math", "typing", "dataclasses", "random", "collections.abc", "numpy", "numpy.typing", "numba"}


audio = st.lists(st.integers(-32768, 32767), min_size=1, max_size=60).map(
    lambda each: struct.pack(f"<{len(each)}h", *each)
)


@settings(deadline=None)
@given(st.lists(audio, min_size=1, max_size=LANES), st.integers(1, 6))
def test_bodies_of_any_lengths_computed_together_get_what_each_gets_alone(bodies: list[bytes], passes: int) -> None:
    assert predict_together(bodies, passes) == [slow_reference(body, passes) for body in bodies]


def test_refuses_more_bodies_than_run_together() -> None:
    with pytest.raises(ValueError, match="1 to 4 bodies, got 5"):
        predict_together([b"\x00\x00"] * 5, 4)
    with pytest.raises(OddBody, match=r"got 1$"):
        predict_together([b"\x00\x00", b"\x00"], 4)
