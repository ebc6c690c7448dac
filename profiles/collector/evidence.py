"""The collector's evidence in compact form, kept in notebooks/findings/collector/. Reads and writes, judges nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import StoredRun, identity, machine_kept, read_run, write_evidence

FOLDER = Path("notebooks") / "findings" / "collector"
EVIDENCE = "collector.json"
"""What `make collector` writes in its run's folder."""
POINTS, CEILINGS = "points.json", "ceilings.json"
_INTERPRETER_KEYS = ("version", "tag", "free_threaded", "gil_enabled", "compiler", "pgo", "packages")
_LEFT_OUT = ("folder",)


def compact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Without what names the machine or a folder."""
    small = dict(evidence)
    small["machine"] = machine_kept(evidence["machine"])
    small["rows"] = {
        name: {**row, "interpreter": _interpreter(row["interpreter"])} for name, row in evidence["rows"].items()
    }
    small["points"] = [
        {key: value for key, value in point.items() if key not in _LEFT_OUT} for point in evidence["points"]
    ]
    return small


def _interpreter(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if facts is None else {key: facts.get(key) for key in _INTERPRETER_KEYS} | identity(facts)


def read_evidence(root: Path = CHECKOUT) -> tuple[dict[str, Any], StoredRun | None]:
    """What is committed: points, and the comparison with confirmed ceilings where there is one.

    Raises:
        ConfigError: there are no points.
    """
    folder = root / FOLDER
    points = read_json(folder / POINTS)
    if points is None:
        raise ConfigError(f"{FOLDER / POINTS}: expected the collector's evidence; `make collector`, then publish it")
    ceilings = folder / CEILINGS
    return points, read_run(ceilings) if ceilings.exists() else None


def keep(points: Path | None, ceilings: Path | None, root: Path = CHECKOUT) -> list[Path]:
    """Write compact evidence of finished runs: of `make collector`, and of a comparison with ladders."""
    folder, written = root / FOLDER, []
    folder.mkdir(parents=True, exist_ok=True)
    if points is not None:
        evidence = read_json(points / EVIDENCE)
        if evidence is None or not evidence["finished"]:
            raise ConfigError(f"{points}: expected the folder of a finished `make collector`")
        write_json(folder / POINTS, compact(evidence))
        written.append(folder / POINTS)
    if ceilings is not None:
        write_evidence(read_run(ceilings), folder / CEILINGS)
        written.append(folder / CEILINGS)
    return written
