"""The stub's arithmetic: what one inference answers for a body of audio, exactly, as PROTOCOL gives it.

Pure: bytes in, a value out. No I/O, clock, thread or randomness belongs here; the load generator recomputes with it.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import int16, int64, njit, types, uint32

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


@njit(types.Tuple((uint32, int64, int64))(_SAMPLES, int64), cache=True, nogil=True)
def _run(samples, passes):  # type: ignore[no-untyped-def]  # compiled: Numba owns its types
    """(checksum, zero crossings, sum of squares), each over all passes.

    Each step of the checksum waits for the one before it (xor, then multiply: some 4 cycles), so that loop does nothing
    else. The other two are the same in every pass but for the crossing from one pass to the next, and vectorise.
    """
    checksum = uint32(_OFFSET_BASIS)
    for p in range(passes):
        shift = uint32(32768 + p)
        for i in range(samples.size):
            checksum = uint32(checksum ^ ((uint32(samples[i]) + shift) & uint32(0xFFFF))) * uint32(_PRIME)

    squares = int64(0)
    for i in range(samples.size):
        squares += int64(samples[i]) * int64(samples[i])
    crossings = int64(0)
    for i in range(1, samples.size):
        crossings += (samples[i] < 0) != (samples[i - 1] < 0)
    between_passes = int64((samples[0] < 0) != (samples[samples.size - 1] < 0))
    return checksum, crossings * passes + between_passes * (passes - 1), squares * passes


def predict(body: bytes | bytearray | memoryview, passes: int) -> Prediction:
    """Run the stub `passes` times (at least 1) over `body`, little-endian int16 samples.

    Raises OddBody for an empty body or an odd number of bytes, ValueError for fewer than one pass.
    """
    audio_bytes = memoryview(body).nbytes
    if audio_bytes == 0 or audio_bytes % SAMPLE_BYTES:
        raise OddBody(f"expected a positive, even number of bytes of 16-bit audio, got {audio_bytes}")
    if passes < 1:
        raise ValueError(f"expected at least 1 pass, got {passes}")
    checksum, crossings, squares = _run(np.frombuffer(body, dtype="<i2"), passes)
    samples = passes * (audio_bytes // SAMPLE_BYTES)
    return Prediction(
        rms=math.sqrt(squares / samples),
        zero_crossings=crossings,
        checksum=checksum,
        samples=samples,
        transcript=TRANSCRIPTS[checksum % len(TRANSCRIPTS)],
        audio_bytes=audio_bytes,
    )
