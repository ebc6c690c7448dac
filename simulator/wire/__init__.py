"""What comes and goes over a socket: both protocols, whole requests, and the connection that joins them."""
