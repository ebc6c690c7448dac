"""What a stall is, from two looks at a gateway: lost wake-up, blocked, starved, peer gone, or nothing wrong.

Pure: evidence in, findings out. Taking the looks is `profiles.forensics.capture`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["lost wake-up", "blocked", "starved", "peer gone"]

LATE_S = 0.2
"""A loop that takes longer than this to come by is late; a healthy one comes by at its next wake-up."""
PEER_IS_GONE = ("CLOSE_WAIT", "LAST_ACK", "CLOSING", "CLOSE")


@dataclass(frozen=True, slots=True)
class TaskLook:
    """One task, as a script in its own loop's thread saw it."""

    id: int
    name: str
    stack: tuple[str, ...]
    """From the outermost coroutine to the innermost: "function (file:line)"."""
    waiter_id: int | None
    """The future that it waits for (`_fut_waiter`); None: it waits for none."""
    waiter_type: str | None
    waiter_done: bool | None
    """None: that future does not say."""
    queued: bool | None
    """Whether its next step or wake-up lies in the loop's ready queue; None: the loop does not show it (uvloop)."""


@dataclass(frozen=True, slots=True)
class ThreadLook:
    """One thread that runs a loop, or was asked and did not come by."""

    thread: int
    answered_after_s: float | None
    """From being asked until the script ran; None: it did not within the time given."""
    state: str
    """The kernel's letter: R runs, S sleeps, D waits for a device."""
    tasks: tuple[TaskLook, ...] = ()


@dataclass(frozen=True, slots=True)
class SocketLook:
    """One end of one connection, as in /proc/net/tcp."""

    side: Literal["gateway", "client"]
    client_port: int
    state: str
    recv_queue_bytes: int
    """Arrived, and not read by the process."""
    send_queue_bytes: int
    """Written, and not acknowledged by the other end."""


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment."""

    threads: tuple[ThreadLook, ...]
    sockets: tuple[SocketLook, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, in one line, with what shows it."""

    kind: Kind
    what: str
    stack: tuple[str, ...] = ()


def classify(first: Look, second: Look) -> tuple[Finding, ...]:
    """Compare two looks, some 0.5 s apart: only what both show counts. Most telling first; empty: nothing wrong."""
    before = {thread.thread: thread for thread in first.threads}
    findings: list[Finding] = []
    for thread in second.threads:
        earlier = before.get(thread.thread)
        if earlier is None:
            continue
        findings += _lost(earlier, thread)
        findings += _late(earlier, thread)
        findings += _queued(earlier, thread)
    findings += _gone(first.sockets, second.sockets)
    order: tuple[Kind, ...] = ("lost wake-up", "blocked", "starved", "peer gone")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.kind)))


def _both(first: ThreadLook, second: ThreadLook) -> list[tuple[TaskLook, TaskLook]]:
    known = {task.id: task for task in first.tasks}
    return [(known[task.id], task) for task in second.tasks if task.id in known]


def _lost(first: ThreadLook, second: ThreadLook) -> list[Finding]:
    return [
        Finding(
            "lost wake-up",
            f"{now.name} in thread {second.thread} waits for a {now.waiter_type} that is done in both looks, and its "
            + ("wake-up is not queued" if now.queued is False else "loop, which came by both times, did not wake it"),
            now.stack,
        )
        for then, now in _both(first, second)
        if then.waiter_id is not None
        and then.waiter_id == now.waiter_id
        and then.waiter_done
        and now.waiter_done
        and not (then.queued or now.queued)
    ]


def _late(first: ThreadLook, second: ThreadLook) -> list[Finding]:
    delays = (first.answered_after_s, second.answered_after_s)
    if all(delay is not None and delay <= LATE_S for delay in delays):
        return []
    runs = "R" in (first.state, second.state)
    if all(delay is None for delay in delays):
        if runs:
            return [Finding("starved", f"thread {second.thread} runs, and its loop never came by")]
        return [Finding("blocked", f"thread {second.thread} sleeps, and did not come by though it was asked and poked")]
    late_s = [delay for delay in delays if delay is not None and delay > LATE_S]
    if len(late_s) < 2:
        return []
    return [
        Finding("starved", f"the loop of thread {second.thread} came by after {late_s[0]:.2f} and {late_s[1]:.2f} s")
    ]


def _queued(first: ThreadLook, second: ThreadLook) -> list[Finding]:
    return [
        Finding("starved", f"{now.name} in thread {second.thread} is queued in both looks, and was not run", now.stack)
        for then, now in _both(first, second)
        if then.queued
        and now.queued
        and then.waiter_id == now.waiter_id
        and then.stack == now.stack
        and then.waiter_done
    ]


def _gone(first: Sequence[SocketLook], second: Sequence[SocketLook]) -> list[Finding]:
    before = {socket.client_port for socket in first if socket.side == "gateway" and socket.state in PEER_IS_GONE}
    return [
        Finding("peer gone", f"client port {socket.client_port}: {socket.state} at the gateway in both looks")
        for socket in second
        if socket.side == "gateway" and socket.state in PEER_IS_GONE and socket.client_port in before
    ]


def thread_look(thread: int, state: str, asked_s: float, said: Mapping[str, Any] | None) -> ThreadLook:
    """From what the probe wrote (`probe.py`); None: it wrote nothing."""
    if said is None:
        return ThreadLook(thread, None, state)
    tasks = tuple(TaskLook(**{**task, "stack": tuple(task["stack"])}) for task in said["tasks"])
    return ThreadLook(thread, max(0.0, said["at_s"] - asked_s), state, tasks)


def parse_tcp(text: str, port: int) -> tuple[SocketLook, ...]:
    """Connections to `port` from /proc/net/tcp or tcp6 (proc_net_tcp in the kernel's documentation), both ends."""
    states = "? ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING"
    names = states.split()
    found = []
    for line in text.splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        local_port, remote_port = (int(end.rpartition(":")[2], 16) for end in (local, remote))
        name = names[int(state, 16)] if int(state, 16) < len(names) else "?"
        if port not in (local_port, remote_port) or name in ("LISTEN", "TIME_WAIT"):
            continue
        send, _, receive = queues.partition(":")
        at_gateway = local_port == port
        found.append(
            SocketLook(
                side="gateway" if at_gateway else "client",
                client_port=remote_port if at_gateway else local_port,
                state=name,
                recv_queue_bytes=int(receive, 16),
                send_queue_bytes=int(send, 16),
            )
        )
    return tuple(found)
