"""The stub's arithmetic: what one inference answers for a body of audio, exactly, as PROTOCOL gives it.

Pure: bytes in, a value out. No I/O, clock, thread or randomness belongs here; the load generator recomputes with it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
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


LANES = 4
_BODIES = types.UniTuple(_SAMPLES, LANES)
_CHECKSUMS = types.UniTuple(uint32, LANES)


@njit(_CHECKSUMS(_BODIES, int64), cache=True, nogil=True)
def _checksums(bodies, passes):  # type: ignore[no-untyped-def]  # compiled: Numba owns its types
    """The checksums of four bodies, each over all passes.

    A step of one checksum waits for the step before it (xor, then multiply: some 4 cycles), but not for another body's:
    four side by side take the time of one. Bodies of unlike lengths begin their passes at unlike moments, so the four
    run together up to the nearest end of somebody's pass, and again; when one is through, the others finish alone.
    """
    h = np.full(LANES, _OFFSET_BASIS, np.uint32)
    at = np.zeros(LANES, np.int64)
    left = np.full(LANES, passes, np.int64)
    shift = np.full(LANES, 32768, np.uint32)
    while (left > 0).all():
        run = bodies[0].size
        for lane in range(LANES):
            run = min(run, bodies[lane].size - at[lane])
        h0, h1, h2, h3 = h[0], h[1], h[2], h[3]
        a, b, c, d = bodies[0][at[0] :], bodies[1][at[1] :], bodies[2][at[2] :], bodies[3][at[3] :]
        shift0, shift1, shift2, shift3 = shift[0], shift[1], shift[2], shift[3]
        for i in range(run):
            h0 = uint32(h0 ^ ((uint32(a[i]) + shift0) & uint32(0xFFFF))) * uint32(_PRIME)
            h1 = uint32(h1 ^ ((uint32(b[i]) + shift1) & uint32(0xFFFF))) * uint32(_PRIME)
            h2 = uint32(h2 ^ ((uint32(c[i]) + shift2) & uint32(0xFFFF))) * uint32(_PRIME)
            h3 = uint32(h3 ^ ((uint32(d[i]) + shift3) & uint32(0xFFFF))) * uint32(_PRIME)
        h[0], h[1], h[2], h[3] = h0, h1, h2, h3
        for lane in range(LANES):
            at[lane] += run
            if at[lane] == bodies[lane].size:
                at[lane] = 0
                left[lane] -= 1
                shift[lane] += uint32(1)

    for lane in range(LANES):
        samples, checksum = bodies[lane], h[lane]
        for _ in range(left[lane]):
            for i in range(at[lane], samples.size):
                checksum = uint32(checksum ^ ((uint32(samples[i]) + shift[lane]) & uint32(0xFFFF))) * uint32(_PRIME)
            at[lane] = 0
            shift[lane] += uint32(1)
        h[lane] = checksum
    return h[0], h[1], h[2], h[3]


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
    """The predictions of up to `LANES` bodies, in little more than the time of the longest."""
    for body in bodies:
        check(body)
    if passes < 1:
        raise ValueError(f"expected at least 1 pass, got {passes}")
    if not 1 <= len(bodies) <= LANES:
        raise ValueError(f"expected 1 to {LANES} bodies, got {len(bodies)}")
    samples = [np.frombuffer(body, dtype="<i2") for body in bodies]
    checksums = _checksums((*samples, *samples[:1] * (LANES - len(samples))), passes)
    return [_prediction(each, passes, checksum) for each, checksum in zip(samples, checksums, strict=False)]


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
