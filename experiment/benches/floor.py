"""The kernel's floor of a draining gateway: a bare loop that polls, receives and sends as often as that does.

    python -m experiment.benches.floor --sessions 500 --seconds 10

Of every session and second: one receive of 50 frames, one POST of them, its answer, one partial; and one poll with a
sleep for each grain of time. Nothing is parsed, unmasked or checked. A second process, on another core, sends the
frames as clients do, one every 20 ms, and answers the POSTs. Prints one JSON object: µs of this process per
session-second, user and system. Standard library only: it runs on the interpreter whose gateway it stands beside.
"""

import argparse
import json
import multiprocessing
import os
import resource
import select
import socket
import sys
import time
from multiprocessing.connection import Connection

FRAME = b"\x82\xfe\x02\x80" + bytes(644)
SLOTS = 20
SLOT_S = 0.001
GRAIN_S = 0.004
HEAD = b"POST /infer HTTP/1.1\r\nhost: 127.0.0.1:9000\r\nx-cpu-passes: 4\r\ncontent-length: %d\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 180\r\n\r\n" + bytes(180)
PARTIAL = b"\x81\x7e" + (300).to_bytes(2) + bytes(300)
WARMUP_S = 2.0


def _connected(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    ours = socket.create_connection(listener.getsockname())
    theirs, _ = listener.accept()
    for sock in (ours, theirs):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    return ours, theirs


def feed(pipe: Connection, clients: list[socket.socket], upstreams: list[socket.socket], cpu: int) -> None:
    """The other process: every client's frame in its slot, and an answer to each whole POST, until the pipe closes."""
    os.sched_setaffinity(0, {cpu})
    epoll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in upstreams}
    owed = dict.fromkeys(by_fd, 0)
    for fd in by_fd:
        epoll.register(fd, select.EPOLLIN)
    slots = [[sock.send for sock in clients[slot::SLOTS]] for slot in range(SLOTS)]
    begin_s, index = time.monotonic(), 0
    while not pipe.poll(0):
        for send in slots[index % SLOTS]:
            send(FRAME)
        for fd, _ in epoll.poll(0):
            data = by_fd[fd].recv(1 << 20)
            if not owed[fd]:  # a request begins; its head comes in one piece
                head, _, data = data.partition(b"\r\n\r\n")
                owed[fd] = int(head.rpartition(b" ")[2])
            owed[fd] -= len(data)
            if not owed[fd]:
                by_fd[fd].send(ANSWER)
        index += 1
        time.sleep(max(0.0, begin_s + index * SLOT_S - time.monotonic()))


def serve(sessions: list[socket.socket], upstreams: list[socket.socket], seconds: float) -> dict[str, float]:
    """The bare loop, for the warm-up and so many seconds more; its CPU in µs per session-second."""
    epoll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in upstreams}
    for fd in by_fd:
        epoll.register(fd, select.EPOLLIN)
    idle, asked = list(by_fd), dict[int, socket.socket]()
    scratch = memoryview(bytearray(1 << 20))
    grains = round(1 / GRAIN_S)
    due = [sessions[grain::grains] for grain in range(grains)]
    begin_s, index = time.monotonic(), 0
    before, end_s, served = None, begin_s + WARMUP_S + seconds, 0
    while (now_s := time.monotonic()) < end_s:
        if before is None and now_s >= begin_s + WARMUP_S:
            before, served = resource.getrusage(resource.RUSAGE_SELF), 0
        for fd, _ in epoll.poll(0):
            by_fd[fd].recv(65536)
            asked.pop(fd).send(PARTIAL)
            idle.append(fd)
        for sock in due[index % grains]:
            try:
                came_bytes = sock.recv_into(scratch)
            except BlockingIOError:
                continue  # its client has only begun
            fd = idle.pop()
            asked[fd] = sock
            # As many bytes as were received stand in for the audio: 8 more a frame than a gateway sends on.
            by_fd[fd].sendmsg((HEAD % came_bytes, scratch[:came_bytes]))
            served += 1
        index += 1
        time.sleep(max(0.0, begin_s + index * GRAIN_S - time.monotonic()))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert before is not None
    each_us = 1e6 / served  # one service is one session-second
    return {
        "user_us": (after.ru_utime - before.ru_utime) * each_us,
        "system_us": (after.ru_stime - before.ru_stime) * each_us,
        "kept_up": served / (len(sessions) * seconds),
    }


def main() -> int:
    """Measure once, and print it."""
    parser = argparse.ArgumentParser(prog="python -m experiment.benches.floor")
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error(f"expected two cores, one for the loop and one for its clients; this process may use {cores}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 512 * 1024)
    pairs = [_connected(listener) for _ in range(arguments.sessions)]
    # Enough for answers that come a few grains late.
    pools = [_connected(listener) for _ in range(max(16, arguments.sessions // 4))]
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    rest = ([ours for ours, _ in pairs], [theirs for _, theirs in pools], cores[0])
    child = context.Process(target=feed, args=(theirs, *rest), daemon=True)
    child.start()
    os.sched_setaffinity(0, {cores[-1]})
    try:
        cost = serve([theirs for _, theirs in pairs], [ours for ours, _ in pools], arguments.seconds)
    finally:
        ours.send(None)
        child.join(5)
        child.kill()
    print(json.dumps({"sessions": arguments.sessions, "total_us": cost["user_us"] + cost["system_us"], **cost}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
