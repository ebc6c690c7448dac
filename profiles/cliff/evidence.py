"""The cliff's evidence in compact form, kept in notebooks/findings/cliff/. Reads and writes, judges nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import machine_kept, read_run, write_evidence
from profiles.cliff.gap import Gap, take_apart
from profiles.cliff.rates import counts_of
from profiles.runs import interpreter_kept

FOLDER = Path("notebooks") / "findings" / "cliff"
EVIDENCE = "cliff.json"
"""What `make cliff` writes in its run's folder."""
CELLS, GAP = "cells.json", "gap.json"
STOCK = Path("notebooks") / "findings" / "stock-and-threads.json"
"""The published comparison of the stock stack, which has gil and mt too: read while no other one is kept as GAP."""
_FINDINGS_KEPT = 3


def compact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Without what names the machine, and with the first findings of each look only."""
    small = dict(evidence)
    small["machine"] = machine_kept(evidence["machine"])
    small["cells"] = {
        name: {
            **cell,
            "interpreter": interpreter_kept(cell["interpreter"]),
            "turns": [
                {**turn, "findings": [look[:_FINDINGS_KEPT] for look in turn["findings"]]} for turn in cell["turns"]
            ],
        }
        for name, cell in evidence["cells"].items()
    }
    small["points"] = [
        {
            **point,
            **({} if point["refused"] else {"interpreter": interpreter_kept(point["interpreter"])}),
            "findings": point.get("findings", [])[:_FINDINGS_KEPT],
        }
        for point in evidence["points"]
    ]
    return small


def _earlier(kept: Mapping[str, Any] | None, evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Stalls and frames of every cell of the runs that were kept before, oldest first: what a new run does not show
    again was seen all the same."""
    if kept is None:
        return []
    runs: list[dict[str, Any]] = list(kept.get("earlier", []))
    if kept["started"] != evidence["started"]:
        runs.append({"started": kept["started"], "counts": counts_of(kept)})
    return runs


def read_evidence(root: Path = CHECKOUT) -> tuple[dict[str, Any], Gap | None]:
    """What is committed: cells and points, and the gap between mt and gil where that was measured.

    Raises:
        ConfigError: there is none.
    """
    folder = root / FOLDER
    cells = read_json(folder / CELLS)
    if cells is None:
        raise ConfigError(f"{FOLDER / CELLS}: expected the cliff's evidence; `make cliff`, then publish it")
    found = [path for path in (folder / GAP, root / STOCK) if path.exists()]
    return cells, take_apart(read_run(found[0])) if found else None


def keep(cliff: Path | None, gap: Path | None, root: Path = CHECKOUT) -> list[Path]:
    """Write compact evidence of finished runs: of `make cliff`, and of a comparison of gil with mt."""
    folder, written = root / FOLDER, []
    folder.mkdir(parents=True, exist_ok=True)
    if cliff is not None:
        evidence = read_json(cliff / EVIDENCE)
        if evidence is None or not evidence["finished"]:
            raise ConfigError(f"{cliff}: expected the folder of a finished `make cliff`")
        write_json(folder / CELLS, compact(evidence) | {"earlier": _earlier(read_json(folder / CELLS), evidence)})
        written.append(folder / CELLS)
    if gap is not None:
        run = read_run(gap)
        if take_apart(run) is None:
            raise ConfigError(f"{gap}: expected a comparison of gil and mt at common sessions")
        write_evidence(run, folder / GAP)
        written.append(folder / GAP)
    return written
