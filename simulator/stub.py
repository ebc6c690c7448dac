"""The stub's arithmetic: what one inference answers for a body of audio, exactly, as PROTOCOL gives it.

Pure: bytes in, a value out. No I/O, clock, thread or randomness belongs here; the load generator recomputes with it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import int16, int64, njit, types, uint16, uint32

SAMPLE_BYTES = 2
# fmt: off
TRANSCRIPTS = (
    "the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "hello", "world", "yes", "no",
    "okay", "right", "left", "stop", "go", "wait", "ready", "done", "again", "now", "later", "never",
)
# fmt: on

_OFFSET_BASIS = 2166136261
_PRIME = 16777619
_SAMPLES = types.Array(int16, 1, "C", readonly=True)


class OddBody(ValueError):
    """The body is no whole, positive number of 16-bit samples."""


class Prediction(NamedTuple):
    """One inference's answer; the fields are the answer's JSON keys, in this order."""

    rms: float
    zero_crossings: int
    checksum: int
    samples: int
    transcript: str
    audio_bytes: int

    def to_json(self) -> bytes:
        """The answer as it goes over the wire; nothing in it needs escaping."""
        return (
            f'{{"rms":{self.rms!r},"zero_crossings":{self.zero_crossings},"checksum":{self.checksum},'
            f'"samples":{self.samples},"transcript":"{self.transcript}","audio_bytes":{self.audio_bytes}}}'
        ).encode()


LANES = 32
"""So many bodies are computed together, at most."""
_WORTH_TOGETHER = 4
"""From so many on, that is quicker than one by one."""


@njit(uint32(_SAMPLES, int64), cache=True, nogil=True)
def _checksum(samples, passes):  # type: ignore[no-untyped-def]  # compiled: Numba owns its types
    """The checksum of one body. Each step (xor, then multiply: some 4 cycles) waits for the step before it."""
    h = uint32(_OFFSET_BASIS)
    for k in range(passes):
        shift = uint32(32768 + k)
        for i in range(samples.size):
            h = uint32(h ^ ((uint32(samples[i]) + shift) & uint32(0xFFFF))) * uint32(_PRIME)
    return uint32(h)


@njit(types.Array(uint32, 1, "C")(types.Array(uint16, 2, "C"), int64), cache=True, nogil=True)
def _checksums(lanes, passes):  # type: ignore[no-untyped-def]
    """The checksums of several bodies of one length: `lanes[i]` is sample i of each, so that one vector instruction
    takes a step for many of them, in the time of one."""
    samples, bodies = lanes.shape
    h = np.full(bodies, _OFFSET_BASIS, np.uint32)
    for k in range(passes):
        shift = uint16(32768 + k)
        for i in range(samples):
            for lane in range(bodies):
                h[lane] = uint32(h[lane] ^ uint32(uint16(lanes[i, lane] + shift))) * uint32(_PRIME)
    return h


@njit(types.Tuple((int64, int64))(_SAMPLES, int64), cache=True, nogil=True)
def _crossings_and_squares(samples, passes):  # type: ignore[no-untyped-def]
    """(zero crossings, sum of squares), over all passes: alike in each, but for the crossing from one to the next."""
    squares = int64(0)
    for i in range(samples.size):
        squares += int64(samples[i]) * int64(samples[i])
    crossings = int64(0)
    for i in range(1, samples.size):
        crossings += (samples[i] < 0) != (samples[i - 1] < 0)
    between_passes = int64((samples[0] < 0) != (samples[samples.size - 1] < 0))
    return crossings * passes + between_passes * (passes - 1), squares * passes


Body = bytes | bytearray | memoryview


def check(body: Body) -> None:
    """Raises OddBody for an empty body or an odd number of bytes."""
    audio_bytes = memoryview(body).nbytes
    if audio_bytes == 0 or audio_bytes % SAMPLE_BYTES:
        raise OddBody(f"expected a positive, even number of bytes of 16-bit audio, got {audio_bytes}")


def predict(body: Body, passes: int) -> Prediction:
    """Run the stub `passes` times (at least 1) over `body`, little-endian int16 samples.

    Raises OddBody as `check` does, ValueError for fewer than one pass.
    """
    return predict_together([body], passes)[0]


def predict_together(bodies: Sequence[Body], passes: int) -> list[Prediction]:
    """The predictions of up to `LANES` bodies; of many that are of one length, in a fraction of the time."""
    for body in bodies:
        check(body)
    if passes < 1:
        raise ValueError(f"expected at least 1 pass, got {passes}")
    if not 1 <= len(bodies) <= LANES:
        raise ValueError(f"expected 1 to {LANES} bodies, got {len(bodies)}")
    samples = [np.frombuffer(body, dtype="<i2") for body in bodies]
    if len(bodies) >= _WORTH_TOGETHER and len({each.size for each in samples}) == 1:
        lanes = np.ascontiguousarray(np.stack(samples).view(np.uint16).T)
        checksums = _checksums(lanes, passes).tolist()
    else:
        checksums = [_checksum(each, passes) for each in samples]
    return [_prediction(each, passes, checksum) for each, checksum in zip(samples, checksums, strict=True)]


def _prediction(samples: npt.NDArray[np.int16], passes: int, checksum: int) -> Prediction:
    crossings, squares = _crossings_and_squares(samples, passes)
    count = passes * samples.size
    return Prediction(
        rms=math.sqrt(squares / count),
        zero_crossings=crossings,
        checksum=checksum,
        samples=count,
        transcript=TRANSCRIPTS[checksum % len(TRANSCRIPTS)],
        audio_bytes=samples.nbytes,
    )
