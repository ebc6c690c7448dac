"""Start the loops of `loops.py`. Options only."""

import sys

from variants.picows_loops.loops import serve_loop
from variants.shared.clients import TRANSPORTS
from variants.shared.loop_threads import LOOPS, run_host
from variants.shared.options import HostOptions


def main() -> int:
    """Serve until a signal ends the process (status 0) or a thread dies (1); 2 is a mistake in the options."""
    options = HostOptions.parse(loops=LOOPS, transports=TRANSPORTS, factors=("collector", "reading"))
    return run_host("picows_loops", options, serve_loop)


if __name__ == "__main__":
    sys.exit(main())
