"""FastAPI on Granian: the stock stack. `python -m variants.asgi --help`."""
