"""Collapsed stacks ("thread;outer;inner 12"): read, written, counted, and turned into speedscope's format. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Stack = tuple[str, ...]
"""From the outermost frame to the innermost; the first entry is the thread."""
NATIVE = "[no Python frame]"
"""Stands for where a thread is that runs no Python function: in C or Rust, or in the kernel."""


def parse_collapsed(text: str) -> Counter[Stack]:
    """One stack a line, its weight after the last space. Raises ValueError naming the line that is not one."""
    stacks: Counter[Stack] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        names, _, weight = line.rpartition(" ")
        if not names or not weight.isdigit():
            raise ValueError(f"collapsed stacks, line {number}: expected 'frame;frame COUNT', got {line[:80]!r}")
        stacks[tuple(names.split(";"))] += int(weight)
    return stacks


def format_collapsed(stacks: Mapping[Stack, int]) -> str:
    """Sorted, so that two profiles can be compared line by line."""
    lines = (f"{';'.join(name.replace(';', ',') for name in stack)} {weight}" for stack, weight in stacks.items())
    return "".join(f"{line}\n" for line in sorted(lines))


def without_folders(stacks: Mapping[Stack, int], folders: Iterable[str]) -> Counter[Stack]:
    """The same with machine paths cut off: what is stored names no folder of this machine."""
    known = sorted((folder.rstrip("/") + "/" for folder in folders if folder), key=len, reverse=True)

    def shorten(name: str) -> str:
        for folder in known:
            name = name.replace(folder, "")
        return name

    shorter: Counter[Stack] = Counter()
    for stack, weight in stacks.items():
        shorter[tuple(map(shorten, stack))] += weight
    return shorter


def from_cpython(text: str, threads: Mapping[int, str]) -> Counter[Stack]:
    """Of `profiling.sampling --collapsed` ("tid:7;file.py:function:12 3"): frames as other profilers name them, without
    lines, so that one function is one box; `threads`: their names by number."""
    stacks: Counter[Stack] = Counter()
    for stack, weight in parse_collapsed(text).items():
        number = int(stack[0].removeprefix("tid:"))
        frames = (frame.rsplit(":", 2) for frame in stack[1:])
        named = (f"{parts[1]} ({parts[0]})" if len(parts) == 3 else ":".join(parts) for parts in frames)
        stacks[(f"{threads.get(number, 'thread')} {number}", *named)] += weight
    return stacks


def disagreements(
    mine: Mapping[Stack, int], theirs: Mapping[Stack, int], points: float = 5.0
) -> list[tuple[str, float, float]]:
    """Functions whose own shares in two profiles differ by more than so many points of a hundred, widest first: name,
    share in one, in the other. Files are compared by their last part: profilers name them by more or less of the path.
    """
    shares = [_own_shares(stacks) for stacks in (mine, theirs)]
    both = {name: (shares[0].get(name, 0.0), shares[1].get(name, 0.0)) for name in shares[0].keys() | shares[1].keys()}
    apart = [(name, one, other) for name, (one, other) in both.items() if abs(one - other) * 100 > points]
    return sorted(apart, key=lambda each: (-round(abs(each[1] - each[2]), 6), each[0]))


def _own_shares(stacks: Mapping[Stack, int]) -> dict[str, float]:
    shares: Counter[str] = Counter()
    own = _own(stacks)
    for name, weight in own.items():
        function, opening, file = name.partition(" (")
        shares[f"{function}{opening}{file.rpartition('/')[2]}"] += weight
    return {name: weight / (own.total() or 1) for name, weight in shares.items()}


def _own(stacks: Mapping[Stack, int]) -> Counter[str]:
    """Weights of innermost frames; threads in no Python function count as one."""
    own: Counter[str] = Counter()
    for stack, weight in stacks.items():
        own[stack[-1] if len(stack) > 1 else NATIVE] += weight
    return own


def hottest(stacks: Mapping[Stack, int], most: int = 10) -> list[tuple[str, float]]:
    """Innermost frames by their own share of all weight, largest first; threads in no Python function count as one."""
    own = _own(stacks)
    total = own.total() or 1
    return [(name, weight / total) for name, weight in own.most_common(most)]


def speedscope(stacks: Mapping[Stack, int], name: str, unit: str = "none") -> dict[str, Any]:
    """One profile per thread, in the format of https://www.speedscope.app/file-format-schema.json.

    Args:
        unit: of a weight: "none" for samples, "bytes" for memory.
    """
    frames: dict[str, int] = {}
    profiles = []
    for thread in sorted({stack[0] for stack in stacks}):
        own = {stack[1:]: weight for stack, weight in stacks.items() if stack[0] == thread}
        samples = [[frames.setdefault(frame, len(frames)) for frame in stack] for stack in own]
        weights = list(own.values())
        profiles.append(
            {
                "type": "sampled",
                "name": thread,
                "unit": unit,
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        )
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": name,
        "exporter": "gateway-lab",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": frame} for frame in frames]},
        "profiles": profiles,
    }
