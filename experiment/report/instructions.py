"""Instructions of a session-second beside those that are kept: of the same binary compared, of another one shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json

KEPT = Path("notebooks/findings/instructions.json")
INSTRUCTION_HEADINGS = ("program", "CPython", "instructions per session-s", "kept", "change")

Counted = Mapping[str, Any]
"""`{program, tag, binary, instructions, …}`, as `experiment.bench.instructions` stores it."""


def keep_instructions(bench: Path, root: Path = CHECKOUT) -> Path:
    """Replace what is kept by what a `make bench INSTRUCTIONS=1` counted. Raises ConfigError where it did not."""
    counted = read_json(bench / "instructions.json")
    if counted is None:
        raise ConfigError(f"{bench}: expected the folder of `make bench INSTRUCTIONS=1`")
    write_json(root / KEPT, counted)
    return root / KEPT


def kept_instructions(root: Path = CHECKOUT) -> tuple[str, list[Counted]]:
    """Their date, and the counts; nothing of either where none are kept."""
    kept = read_json(root / KEPT) or {"date": "", "counted": []}
    return str(kept["date"]), list(kept["counted"])


def instruction_lines(counted: Sequence[Counted], kept: Sequence[Counted]) -> list[tuple[str, ...]]:
    """One line per program and build, under INSTRUCTION_HEADINGS."""
    lines: list[tuple[str, ...]] = []
    for each in counted:
        now = each["instructions"]
        same_program = [one for one in kept if one["program"] == each["program"]]
        same = next((one for one in same_program if one["binary"] == each["binary"]), None)
        other = next((one for one in same_program if one["tag"] == each["tag"]), None)
        if same is not None:
            beside, change = f"{same['instructions']:,.0f}", f"{100 * (now / same['instructions'] - 1):+.2f} %"
        elif other is not None:
            beside, change = f"another build: {other['instructions']:,.0f}", "not compared"
        else:
            beside, change = "none", "–"
        lines.append((each["program"], each["tag"], f"{now:,.0f}", beside, change))
    return lines
