"""A port to listen on, found before anybody does. No server lives here."""

import socket


class PortTaken(OSError):
    """Something listens there already."""


def free_port(host: str = "127.0.0.1", port: int = 0) -> int:
    """`port`, or with 0 one that is free. PortTaken where another process listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}; stop what listens there") from None
        bound: int = probe.getsockname()[1]
        return bound
