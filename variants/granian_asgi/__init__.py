"""FastAPI on Granian: the stock stack. `python -m variants.granian_asgi --help`."""
