"""Start the threads of `loops.py`. Options only; picows and the event loop are imported by what they belong to."""

import sys

from variants.picows_loops.loops import LOOPS, serve
from variants.shared.build import require_interpreter, running
from variants.shared.clients import TRANSPORTS
from variants.shared.options import HostOptions


def main() -> int:
    """Serve until a signal ends the process (status 0) or a thread dies (1); 2 is a mistake in the options."""
    options = HostOptions.parse(loops=LOOPS, transports=TRANSPORTS, factors=("collector",))
    if options.loops < 1:
        return _refuse(f"--loops: expected at least 1, got {options.loops}")
    if options.loops > 1 and not running().endswith("t"):
        return _refuse(
            f"--loops: expected 1 on CPython {running()}, which has a GIL, got {options.loops}; "
            "use a free-threaded build (3.14t)"
        )
    require_interpreter(options.expect)
    return serve(options)


def _refuse(why: str) -> int:
    print(f"picows_loops: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
