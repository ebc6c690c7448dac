"""The sessions that send in the same millisecond of every 20, and the innermost loop over them, compiled: one system
call a frame. Interpreted, that loop cost an eighth of the load generator's CPU beside the kernel's own work.

Nothing is decided here: what a socket did not take whole is told to the caller.
"""

import errno
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import carray, int32, int64, njit, types

from loadgen.frames import FRAME_SAMPLES, PERIOD, WIRE_BYTES, WireFrames
from loadgen.shared import C

HELD = 0
"""Bytes taken of a frame that was not sent at all, since its session is held. No socket takes none of 648 bytes."""
_NO_DESCRIPTOR = -1
_DONTWAIT_NOSIGNAL = 0x40 | 0x4000

# Both are libc's, which every process has; an address goes as an integer as wide as a pointer.
_c_send = types.ExternalFunction("send", types.intp(int32, types.uintp, types.uintp, int32))
_c_errno = types.ExternalFunction("__errno_location", types.CPointer(int32)())


@njit(int64(int32[::1], int64[::1], int64, int64, types.uintp, int32[::1]), cache=True)
def _send_due(fds, firsts, count, rounds, wire, taken):  # type: ignore[no-untyped-def]  # compiled: Numba owns its types
    """Send the first `count` sessions' frames of this round; how many were not taken whole. `taken` is filled in."""
    odd = 0
    for place in range(count):
        result = HELD
        if fds[place] != _NO_DESCRIPTOR:
            frame = (firsts[place] + rounds * FRAME_SAMPLES) % PERIOD
            result = _c_send(fds[place], wire + types.uintp(frame * WIRE_BYTES), WIRE_BYTES, _DONTWAIT_NOSIGNAL)
            if result < 0:
                result = -carray(_c_errno(), 1)[0]
        taken[place] = result
        odd += result != WIRE_BYTES
    return odd


class Odd(NamedTuple, Generic[C]):
    """A frame that its socket did not take whole."""

    connection: C
    frame: bytes
    taken: int
    """Bytes, 1 … 647; HELD; or a negative errno."""

    @property
    def is_held(self) -> bool:
        """Whether the session was held, so that nothing was tried."""
        return self.taken == HELD

    @property
    def is_full(self) -> bool:
        """Whether the socket has no room for it, or not for all of it."""
        return self.taken > 0 or self.taken == -errno.EAGAIN


class Slot(Generic[C]):
    """The sessions of one slot. `rounds` counts how often it was served; `lead_s` is how far before its beginning its
    earliest frame is due. Each session has a place, an index into all of the columns."""

    def __init__(self) -> None:
        self.connections: list[C] = []
        self.rounds = 0
        self.lead_s = 0.0
        self._fds: npt.NDArray[np.int32] = np.zeros(8, dtype=np.int32)
        self._firsts: npt.NDArray[np.int64] = np.zeros(8, dtype=np.int64)  # where its frame of round 0 would begin
        self._taken: npt.NDArray[np.int32] = np.zeros(8, dtype=np.int32)

    def add(self, connection: C, session: int) -> int:
        """Have `session`'s frame 1 sent in the next round, and so on, once it is released; its place."""
        place = len(self.connections)
        self.connections.append(connection)
        if place == len(self._fds):
            self._fds = np.concatenate((self._fds, self._fds))
            self._firsts = np.concatenate((self._firsts, self._firsts))
            self._taken = np.concatenate((self._taken, self._taken))
        self._firsts[place] = (session + FRAME_SAMPLES - self.rounds * FRAME_SAMPLES) % PERIOD
        self.hold(place)
        return place

    def remove(self, place: int) -> C | None:
        """Take a session out; the one that has its place now, if any."""
        last = self.connections.pop()
        end = len(self.connections)
        if place == end:
            return None
        self.connections[place], self._fds[place], self._firsts[place] = last, self._fds[end], self._firsts[end]
        return last

    def hold(self, place: int) -> None:
        """Send nothing more of this session: its frames are told as HELD."""
        self._fds[place] = _NO_DESCRIPTOR

    def release(self, place: int, fd: int) -> None:
        """Send this session's frames to `fd`."""
        self._fds[place] = fd

    def send(self, frames: WireFrames) -> list[Odd[C]]:
        """Send one frame of every session; those that were not taken whole. The round is not counted yet."""
        count, rounds, taken = len(self.connections), self.rounds, self._taken
        if not _send_due(self._fds, self._firsts, count, rounds, frames.address, taken):
            return []
        return [
            Odd(
                self.connections[place], frames.at(int(self._firsts[place]) + rounds * FRAME_SAMPLES), int(taken[place])
            )
            for place in np.flatnonzero(taken[:count] != WIRE_BYTES).tolist()
        ]
