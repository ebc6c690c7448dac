"""A serving loop over picows, one in each thread of `variants.shared.loop_threads`.

The WebSocket server is picows: well kept, its parser in Cython, with wheels for 3.14t, and a listener called straight
from the transport's read, so that a frame costs no task switch. Its transports are aiofastnet's (it depends on that) on
either event loop.

Everything here belongs to its loop's thread. What a frame or a tick would take references to is each thread's own
where that is ours to say (docs/findings/two-cores.md).
"""

import random
from typing import Any

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from gateway import FULL, Session, SessionSettings
from variants.picows_loops.connection import Connection, of_this_thread
from variants.shared.loop_threads import Here
from variants.shared.metrics import CONTENT_TYPE
from variants.shared.options import BACKLOG, MOST_BYTES
from variants.shared.sessions import leave_all

_READ_BUFFER_BYTES = 4096
"""Six frames; picows grows it for a client that sends in bursts, up to what the kernel holds."""


async def serve_loop(here: Here) -> None:
    """Serve on this loop until the host is to end."""
    connections: set[Connection] = set()
    server = await ws_create_server(
        _router(here, connections),
        sock=here.listening,
        backlog=BACKLOG,
        max_frame_size=MOST_BYTES,
        read_buffer_init_size=_READ_BUFFER_BYTES,
        enable_auto_pong=False,  # `Connection` looks at a ping's reserved bits first
    )
    await here.stopped()
    server.close()
    await leave_all(connections)


def _router(here: Here, connections: set[Connection]) -> Any:
    """What picows calls with each HTTP request: a listener for a WebSocket, a whole answer, or None for 404."""
    tally, admission, jitter_ms = here.tally, here.options.admission, here.options.flush_phase_jitter_ms
    phases, settings, connection = random.Random(), SessionSettings(), of_this_thread(Connection)
    at_ticks = here.options.reading == "ticks"

    def route(request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener | None:
        path = request.path.partition(b"?")[0]
        if path == b"/ws/stt":
            if not admission.admits(tally):
                return _answer(WSUpgradeResponse.create_error_response(503, FULL.reason.encode()))
            session = Session(settings, phases.uniform(0, jitter_ms), tally)
            return connection(session, here.client, tally, connections, reads_at_ticks=at_ticks)
        if path == b"/health":
            return _answer(WSUpgradeResponse.create_ok_response(b'{"ok":true}', {"Content-Type": "application/json"}))
        if path == b"/metrics":
            return _answer(WSUpgradeResponse.create_ok_response(here.tallies.page(), {"Content-Type": CONTENT_TYPE}))
        return None

    return route


def _answer(response: WSUpgradeResponse) -> WSUpgradeResponseWithListener:
    """It and no WebSocket."""
    return WSUpgradeResponseWithListener(response, None)
