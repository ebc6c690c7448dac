"""The kept inputs: one text file per target, an input in base64 on each line."""

from base64 import b64decode, b64encode
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
MOST_BYTES = 40_000
"""Of each file."""


def read(target: str) -> list[bytes]:
    """A target's inputs."""
    path = FOLDER / f"{target}.txt"
    return [b64decode(line) for line in path.read_bytes().split()] if path.exists() else []


def keep(target: str, found: list[bytes]) -> int:
    """Add what was found to a target's inputs, the shortest first, as far as there is room; how many there are then."""
    kept = read(target)
    room = MOST_BYTES - sum(_line_bytes(data) for data in kept)
    for data in sorted(set(found) - set(kept), key=lambda data: (len(data), data)):
        if _line_bytes(data) > room:
            break
        room -= _line_bytes(data)
        kept.append(data)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{target}.txt").write_bytes(b"".join(b64encode(data) + b"\n" for data in kept))
    return len(kept)


def _line_bytes(data: bytes) -> int:
    return (len(data) + 2) // 3 * 4 + 1
