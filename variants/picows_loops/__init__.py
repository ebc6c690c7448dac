"""One process, N threads, each with an event loop of its own over picows. `python -m variants.picows_loops --help`."""
