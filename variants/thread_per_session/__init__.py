"""A blocking thread for each session, and no event loop. `python -m variants.thread_per_session --help`."""
