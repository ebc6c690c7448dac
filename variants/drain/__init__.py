"""The draining gateway: no wake-up per frame; the kernel keeps a second of audio. `python -m variants.drain --help`."""
