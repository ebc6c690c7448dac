"""Granian's own interface, RSGI, in place of ASGI. `python -m variants.rsgi --help`."""
