"""The bounded audio buffer of one session: pieces of whole frames, numbered from 1, oldest dropped first."""

from typing import NamedTuple

from gateway.settings import FRAME_BYTES

Audio = bytes | bytearray | memoryview


class Run(NamedTuple):
    """Frames that follow each other: taken from the buffer, or pushed out by its bound."""

    oldest_seq: int
    frames: int
    oldest_taken_s: float
    """When the oldest frame came off the socket, in seconds of the host's clock."""
    newest_taken_s: float


class FrameBuffer:
    """Frames in arrival order. A run of frames that was read at once stays one piece, uncopied."""

    __slots__ = ("_chunks", "_dropped", "_limit_frames", "_taken_s", "frames", "next_seq")

    def __init__(self, limit_frames: int) -> None:
        self._limit_frames = limit_frames
        self._chunks: list[Audio] = []
        self._taken_s: list[float] = []
        self._dropped: Run | None = None
        self.frames = 0
        """Frames buffered now."""
        self.next_seq = 1
        """The number that the next frame gets."""

    def append(self, run: Audio, frames: int, now_s: float) -> None:
        """Buffer a run of `frames` whole frames that came off the socket at `now_s`."""
        self._chunks.append(run)
        self._taken_s.append(now_s)
        self.next_seq += frames
        self.frames += frames
        if self.frames > self._limit_frames:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        excess = self.frames - self._limit_frames
        oldest_seq, oldest_taken_s = self.next_seq - self.frames, self._taken_s[0]
        self.frames = self._limit_frames
        whole, left = 0, excess
        while left and left >= (length := len(self._chunks[whole]) // FRAME_BYTES):
            left -= length
            whole += 1
        newest_taken_s = self._taken_s[whole if left else whole - 1]
        del self._chunks[:whole], self._taken_s[:whole]
        if left:
            self._chunks[0] = memoryview(self._chunks[0])[left * FRAME_BYTES :]
        earlier = self._dropped
        if earlier is None:
            self._dropped = Run(oldest_seq, excess, oldest_taken_s, newest_taken_s)
        else:
            # Nothing was taken since, so the two runs follow each other without a gap.
            self._dropped = earlier._replace(frames=earlier.frames + excess, newest_taken_s=newest_taken_s)

    def take_dropped(self) -> Run | None:
        """The frames dropped since the last call, one unbroken run just before the oldest buffered frame."""
        dropped, self._dropped = self._dropped, None
        return dropped

    def take(self) -> tuple[list[Audio], Run]:
        """Everything buffered; call `take_dropped` first, so that the two are reported in order."""
        chunks, times_s, frames = self._chunks, self._taken_s, self.frames
        self._chunks, self._taken_s, self.frames = [], [], 0
        return chunks, Run(self.next_seq - frames, frames, times_s[0], times_s[-1])
