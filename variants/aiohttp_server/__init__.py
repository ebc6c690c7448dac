"""aiohttp's own server, one loop in each thread. `python -m variants.aiohttp_server --help`."""
