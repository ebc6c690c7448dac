"""Start the host with the WebSocket implementation that the row names. Options only."""

import sys

from variants.shared.build import require_interpreter
from variants.shared.options import HostOptions
from variants.thread_per_session.library import serve_with_websockets
from variants.thread_per_session.threads import serve


def main() -> int:
    """Serve until a signal ends the process (status 0); 2 is a mistake in the options."""
    options = HostOptions.parse(loops=("none",), transports=("h1",), factors=("websocket", "collector"))
    if options.loops != 1:
        print(f"thread_per_session: --loops: expected 1, got {options.loops}: it has none", file=sys.stderr)
        return 2
    require_interpreter(options.expect)
    return serve_with_websockets(options) if options.websocket == "websockets-sync" else serve(options)


if __name__ == "__main__":
    sys.exit(main())
