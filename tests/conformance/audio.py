"""The audio that rules send, and the numbers that it must come back as. Pure: no gateway code computes either."""

import hashlib
import struct

from simulator.stub import Prediction, predict

FRAME_BYTES = 640
FRAME_SAMPLES = 320
CPU_PASSES = 4

# PROTOCOL, section 2: one frame of session 0, sequence 1, 4 passes.
GOLDEN = Prediction(
    rms=2425.5023191083533,
    zero_crossings=7,
    checksum=1745339397,
    samples=1280,
    transcript="now",
    audio_bytes=640,
)


class Audio:
    """One session's frames. Each begins with the same 4 bytes, by which the inference server knows the session's
    requests, and each is unlike every other frame of any session."""

    def __init__(self, marker: bytes) -> None:
        self._start = marker

    @property
    def marker(self) -> str:
        """Hex of the first 4 bytes of every batch."""
        return self.frame(1)[:4].hex()

    def frame(self, seq: int) -> bytes:
        """Frame `seq`, from 1."""
        head = self._start + struct.pack("<I", seq)
        return head + hashlib.shake_128(head).digest(FRAME_BYTES - len(head))

    def batch(self, oldest: int, newest: int) -> bytes:
        """Frames `oldest` … `newest`, joined."""
        return b"".join(map(self.frame, range(oldest, newest + 1)))

    def prediction(self, oldest: int, newest: int) -> Prediction:
        """What the inference server answers for those frames."""
        return predict(self.batch(oldest, newest), CPU_PASSES)


class GoldenAudio(Audio):
    """Session 0 of the contract's load: its first frame has the golden numbers."""

    def __init__(self) -> None:
        super().__init__(b"")

    def frame(self, seq: int) -> bytes:
        samples = (((seq * FRAME_SAMPLES + k) * 17 % 20000) - 10000 for k in range(FRAME_SAMPLES))
        return struct.pack(f"<{FRAME_SAMPLES}h", *samples)
