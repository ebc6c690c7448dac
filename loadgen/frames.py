"""The audio of every session, and its wire frames, made before the run.

Pure: a seed in, bytes out. No socket or clock belongs here.

PROTOCOL, section 3: sample k of frame n of session s is ((n × 320 + s + k) × 17 mod 20000) − 10000. That is one
periodic table of 20000 samples read from (n × 320 + s) mod 20000 on, so at most 20000 wire frames exist, and a session
walks through 125 of them (320 × 125 is a multiple of 20000): its frame 126 is frame 1 again.
"""

import numpy as np
import numpy.typing as npt

FRAME_SAMPLES = 320
FRAME_BYTES = 640
WIRE_BYTES = 648
PERIOD = 20000

_HEADER = (0x82, 0xFE, FRAME_BYTES >> 8, FRAME_BYTES & 0xFF)  # FIN + binary, masked + 16-bit length (RFC 6455, 5.2)
_TABLE = ((np.arange(PERIOD, dtype=np.int64) * 17) % PERIOD - 10000).astype("<i2")


def offset_of(session: int, frame: int) -> int:
    """Where in the periodic table `frame` (from 1) of `session` begins."""
    return (frame * FRAME_SAMPLES + session) % PERIOD


def audio_at(offset: int, frames: int) -> bytes:
    """`frames` successive frames' samples from `offset` of the table on: frames × 640 bytes."""
    return _TABLE.take(np.arange(offset, offset + frames * FRAME_SAMPLES), mode="wrap").tobytes()


class WireFrames:
    """Every masked client frame of 648 bytes, each with a random mask of its own, drawn from the seeded generator."""

    def __init__(self, seed: int | list[int]) -> None:
        rng = np.random.default_rng(seed)
        wire: npt.NDArray[np.uint8] = np.empty((PERIOD, WIRE_BYTES), dtype=np.uint8)
        masks = rng.integers(0, 256, size=(PERIOD, 4), dtype=np.uint8)
        # Row m of the table's sliding view is the payload that begins at sample m.
        doubled = np.concatenate((_TABLE, _TABLE[: FRAME_SAMPLES - 1]))
        payloads = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(doubled, FRAME_SAMPLES))
        wire[:, :4] = _HEADER
        wire[:, 4:8] = masks
        wire[:, 8:] = payloads.view(np.uint8) ^ np.tile(masks, FRAME_BYTES // 4)
        self._wire = wire
        self.address = wire.ctypes.data
        """Where in memory the table begins: the frame that begins at sample m lies m × 648 bytes further on."""

    def at(self, offset: int) -> bytes:
        """The wire bytes of the frame that begins at `offset` of the periodic table."""
        frame: bytes = self._wire[offset % PERIOD].tobytes()
        return frame

    def frame_of(self, session: int, frame: int) -> bytes:
        """The wire bytes of `frame` (from 1) of `session`."""
        return self.at(offset_of(session, frame))
