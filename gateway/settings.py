"""The numbers that a session is built with. No defaults from the environment: a host passes what it was given."""

from dataclasses import dataclass

FRAME_BYTES = 640
"""One audio frame: 20 ms of 16 kHz mono PCM, 320 little-endian int16 samples."""

FRAMES_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the sessions of an event loop share; read-only. Each loop's thread best makes its own: references to another
    thread's are counted atomically where there is no GIL."""

    flush_interval_ms: float = 1000.0
    buffer_seconds: float = 30.0
    """Audio that is buffered at most; past it the oldest frames are dropped and reported."""
    outbox_messages: int = 4
    """While as many messages wait to be written, ticks send nothing."""
    cpu_passes: int = 4
    """How often the inference server goes over the samples (header `x-cpu-passes`)."""
    model_delay_ms: int = 75
    """The configured median service time of the model, repeated in each partial."""

    def __post_init__(self) -> None:
        for name in ("flush_interval_ms", "buffer_seconds", "outbox_messages", "cpu_passes"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name}: expected a number above 0, got {value!r}")
        if self.buffer_frames < 1:
            raise ValueError(f"buffer_seconds: expected room for one 20 ms frame, got {self.buffer_seconds!r}")

    @property
    def buffer_frames(self) -> int:
        """The bound of the buffer in frames."""
        return int(self.buffer_seconds * FRAMES_PER_SECOND)
