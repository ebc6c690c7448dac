"""Turns a memray file into collapsed stacks: `PYTHON memory_report.py CAPTURE STEM`. Runs where memray is installed.

Writes STEM.peak.txt and STEM.left.txt (bytes at the peak, and still allocated at the end of the window) and STEM.json.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def collapse(records: Iterable[Any]) -> tuple[Counter[str], int]:
    """Bytes by collapsed stack, and all of them."""
    stacks: Counter[str] = Counter()
    for record in records:
        frames = [f"{function} ({file})".replace(";", ",") for function, file, _ in reversed(record.stack_trace())]
        stacks[";".join(["memory", *(frames or ["(no Python frame)"])])] += record.size
    return stacks, stacks.total()


def main(capture: Path, stem: str) -> int:
    """Read the capture once for each picture."""
    from memray import FileReader  # type: ignore[import-not-found,unused-ignore]

    with FileReader(capture) as reader:
        peak, peak_bytes = collapse(reader.get_high_watermark_allocation_records(merge_threads=True))
        left, left_bytes = collapse(reader.get_leaked_allocation_records(merge_threads=True))
        allocations = reader.metadata.total_allocations
    for name, stacks in (("peak", peak), ("left", left)):
        text = "".join(f"{stack} {size}\n" for stack, size in sorted(stacks.items()) if size)
        Path(f"{stem}.{name}.txt").write_text(text, encoding="utf-8")
    facts = {"peak_bytes": peak_bytes, "left_bytes": left_bytes, "allocations": allocations}
    Path(f"{stem}.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
