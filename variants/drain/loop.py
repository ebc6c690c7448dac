"""One event loop: accept, look, tick, in rounds of a frame's time. What a connection does is in `client`.

Ownership: a loop's thread owns its listening socket, epoll, timers, clients, sessions and inference connections.
Loops share nothing but modules, their constants, the memory of `variants.shared.metrics`, and the kernel's queue of
connections (SO_REUSEPORT).
"""

import contextlib
import errno
import os
import random
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from gateway import LEAVE_LIMIT_S, Session, SessionSettings
from variants.drain.client import Client
from variants.drain.decoder import Scratch
from variants.drain.h1 import H1Pool
from variants.drain.h2c import H2Pool
from variants.drain.inference import Address, Inference
from variants.drain.stream import IN, Poller
from variants.drain.timers import Deadlines, Timers
from variants.shared.metrics import Tallies
from variants.shared.options import BACKLOG, HostOptions

ROUND_S = 0.02
"""A frame's time. What happens within it is served together; what is due is not put off for it."""
_AHEAD_S = 0.0001
"""Ticks that are meant to fall on the beginning of a round are due as much before it, whatever rounding does."""
HURRY_S = 0.25
"""How long after a connection was accepted its handshake and start message are taken as soon as they come."""
HANDSHAKE_LIMIT_S = 5.0
"""How long a connection may take to ask for something."""
_ACCEPT_AT_ONCE = 256
_RECEIVE_BUFFER_BYTES = 512 * 1024
"""Asked for each client's socket; the kernel doubles it, within net.core.rmem_max. It counts a frame of 648 bytes as up
to 2304, so 3 s of audio are 346 kB: these fit even where rmem_max is 212992, the kernel's own default."""
SCRATCH_BYTES = 2 * _RECEIVE_BUFFER_BYTES
"""As much as one socket can hold, so that one call empties it."""


def _addresses(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def listen(options: HostOptions) -> socket.socket:
    """A listening socket for one loop, on the first address of the host's name that this machine has: localhost may
    be ::1 first, and there be no IPv6. Several share the port only where several loops were asked for."""
    *first, last = _addresses(options.host, options.port)
    for address in first:
        try:
            return _listen_on(address, shared=options.loops > 1)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    return _listen_on(last, shared=options.loops > 1)


def _listen_on(where: Address, *, shared: bool) -> socket.socket:
    family, address = where
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted sockets inherit both. The buffer has to be known before a handshake, which fixes the window's scale.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _spare_descriptor() -> int | None:
    """A descriptor kept back for the day when there is none for whoever connects; None where it has come."""
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


class _Wake:
    """How another thread wakes a loop: the one thing of a loop's that it may touch."""

    def __init__(self, poller: Poller, told: Callable[[float], None]) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # closed with the process, by when nobody writes
        self._told = told
        poller.add(self._fd, self, IN)

    def wake(self) -> None:
        """Have the loop's thread call `told`."""
        os.eventfd_write(self._fd, 1)

    def on_event(self, mask: int, now_s: float) -> None:
        os.eventfd_read(self._fd)
        self._told(now_s)


class Loop:
    """Made and run by one thread."""

    def __init__(
        self, options: HostOptions, settings: SessionSettings, tallies: Tallies, listener: socket.socket
    ) -> None:
        self.poller = Poller()
        self.tallies, self.tally, self.admission = tallies, tallies.take(), options.admission
        self.timers: Timers[Client] = Timers()
        self.scratch = Scratch(SCRATCH_BYTES)
        self.look_s = options.look_interval_ms / 1000
        self.inference = self._open_inference(options)
        self._settings = settings
        self._phase_jitter_ms = options.flush_phase_jitter_ms
        self._random = random.Random()
        self._listener = listener
        self._handshakes = Deadlines(HANDSHAKE_LIMIT_S)
        self._spare = _spare_descriptor()
        self._hurries_until_s = 0.0
        """Until then nothing is put off for the sake of company: somebody is in the middle of a handshake."""
        self.poller.add(listener.fileno(), self, IN)
        self._leaves_by_s: float | None = None
        """When the loop ends at the latest; None while it serves."""
        self._wake = _Wake(self.poller, self._begin_to_leave)

    def _open_inference(self, options: HostOptions) -> Inference:
        host, port = options.inference_address
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        pool_of: dict[str, Any] = {"h1": H1Pool, "h2": H2Pool}
        more = {"connections": options.inference_connections} if options.transport == "h2" else {}
        pool: Inference = pool_of[options.transport](
            self.poller, _addresses(host, port), authority, time.monotonic(), **more
        )
        return pool

    def run(self) -> None:
        """Serve until `leave` is called and everybody has gone. An exception that ends it is a mistake of ours."""
        try:
            while not self._has_left():
                self.serve_round()
        finally:
            self.poller.end()

    def leave(self) -> None:
        """Take nobody more, relay what is in flight, close every connection, then end. Any thread may ask for it."""
        self._wake.wake()

    def _begin_to_leave(self, now_s: float) -> None:
        self._leaves_by_s = now_s + LEAVE_LIMIT_S
        self.poller.close(self._listener)
        for client in self._clients():
            try:
                client.leave(now_s)
            except Exception:
                client.fail(now_s)

    def _clients(self) -> list[Client]:
        return [handler for handler in self.poller.handlers if isinstance(handler, Client)]

    def _has_left(self) -> bool:
        return self._leaves_by_s is not None and (time.monotonic() >= self._leaves_by_s or not self._clients())

    def serve_round(self) -> None:
        """Wait for something to do, do it all, and let more gather until the next round or until something is due."""
        clock = time.monotonic
        events = self.poller.wait(self._wait_s(clock()))
        for handler, mask in events:
            try:
                handler.on_event(mask, clock())
            except Exception:
                if not isinstance(handler, Client):
                    raise
                handler.fail(clock())
        due = self.timers.take_due(clock())
        # First every look, then every tick: the same work done in a row finds its code and tables in the core's caches.
        ticking = []
        for client in due:
            try:
                if client.on_time(clock()):
                    ticking.append(client)
            except Exception:
                client.fail(clock())
        for client in ticking:
            try:
                client.on_tick(clock())
            except Exception:
                client.fail(clock())
        now_s = clock()
        deadline_s = self.inference.next_deadline_s()
        if deadline_s is not None and deadline_s <= now_s:
            self.inference.expire(now_s)
        for client in self._handshakes.take_expired(now_s):
            client.drop()
        if (events or due) and now_s >= self._hurries_until_s:
            now_s = clock()
            gathering_s = ROUND_S - now_s % ROUND_S
            due_s = self.timers.next_s
            if due_s is not None:
                gathering_s = min(gathering_s, max(0.0, due_s - now_s))
            time.sleep(gathering_s)

    def _wait_s(self, now_s: float) -> float | None:
        deadlines_s = (self.inference.next_deadline_s(), self._handshakes.next_s(), self._leaves_by_s)
        times_s = (self.timers.next_s, *deadlines_s)
        next_s = min((time_s for time_s in times_s if time_s is not None), default=None)
        return None if next_s is None else max(0.0, next_s - now_s)

    def _refuse(self) -> None:
        """Without a descriptor for whoever waits: let go of the spare one, take them with it, and let go of them."""
        assert self._spare is not None
        os.close(self._spare)
        with contextlib.suppress(OSError):  # another thread was faster with it
            self._listener.accept()[0].close()
        self._spare = _spare_descriptor()

    def survived(self) -> None:
        """Count and print the exception that is handled just now: it ends one client."""
        self.tally.exceptions += 1
        print(
            f"variants.drain: one client ends by an exception that nobody expected; {self.tally.exceptions} so far",
            file=sys.stderr,
        )
        traceback.print_exc()

    def new_session(self, now_s: float) -> Session:
        """A session that starts now. Its phase is drawn as any is, then moved to where a round begins: so the
        ticks of many sessions fall together, and none of them is late for it."""
        jitter_s = self._phase_jitter_ms / 1000
        phase_s = self._random.uniform(0, jitter_s)
        if jitter_s >= ROUND_S:
            phase_s += -(now_s + phase_s) % ROUND_S - _AHEAD_S
            if not 0 <= phase_s < jitter_s:
                phase_s += ROUND_S if phase_s < 0 else -ROUND_S
        return Session(self._settings, phase_s * 1000, self.tally)

    def on_event(self, mask: int, now_s: float) -> None:
        """Accept whoever waits, some at a time, so that they do not hold up ticks."""
        if self._leaves_by_s is not None:
            return
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE) and self._spare is not None:
                    self._refuse()
                    continue
                return  # nobody waits, or somebody has left again
            if self._spare is None:
                self._spare = _spare_descriptor()
            sock.setblocking(False)
            self._handshakes.add(now_s, Client(self, sock))
            self._hurries_until_s = now_s + HURRY_S
