"""Start Granian with the application of `app.py`. Options only."""

from variants.shared.clients import TRANSPORTS
from variants.shared.granian_server import FACTORS, serve_granian
from variants.shared.metrics import Tallies
from variants.shared.options import HostOptions


def main() -> None:
    """Serve until a signal ends the process."""
    options = HostOptions.parse(loops=("uvloop", "asyncio"), transports=TRANSPORTS, factors=(*FACTORS, "collector"))
    options.to_environment()
    Tallies.create(options.loops).to_environment()
    serve_granian(options, "variants.rsgi.app:create_app", "rsgi")


if __name__ == "__main__":
    main()
