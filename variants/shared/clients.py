"""Which inference client a host gets: the transport is a factor of every row, the interface is one."""

from contextlib import AbstractAsyncContextManager

from variants.shared.inference import InferenceClient
from variants.shared.options import HostOptions

TRANSPORTS = ("h2", "h1")
"""h2: multiplexed h2c through `h2`. h1: pooled HTTP/1.1 through aiohttp."""


def open_client(options: HostOptions) -> AbstractAsyncContextManager[InferenceClient]:
    """A client for the running event loop, whose connections end with the context."""
    host, port = options.inference_address
    # Imported here: an environment holds the packages of its own transports only.
    if options.transport == "h1":
        from variants.shared.h1_client import open_h1_client

        return open_h1_client(host, port)
    from variants.shared.h2_client import open_h2_client

    return open_h2_client(host, port, options.inference_connections)
