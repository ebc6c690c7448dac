"""websockets' asyncio server, one loop in each thread. `python -m variants.websockets_server --help`."""
