"""The collector's evidence in compact form, kept in notebooks/findings/collector/. Reads and writes, judges nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import StoredRun, machine_kept, read_run, without_places, write_evidence
from profiles.runs import interpreter_kept

FOLDER = Path("notebooks") / "findings" / "collector"
EVIDENCE = "collector.json"
"""What `make collector` writes in its run's folder."""
POINTS, CEILINGS, CHANGED = "points.json", "ceilings.json", "changed.json"
BUILDS, STACKS, MERGING = "builds.json", "stacks.json", "merging.json"
_LEFT_OUT = ("folder",)


def compact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Without what names the machine or a folder."""
    small = {**evidence, "settings": without_places(evidence["settings"])}
    small["machine"] = machine_kept(evidence["machine"])
    small["rows"] = {
        name: {**row, "interpreter": interpreter_kept(row["interpreter"])} for name, row in evidence["rows"].items()
    }
    small["points"] = [
        {key: value for key, value in point.items() if key not in _LEFT_OUT} for point in evidence["points"]
    ]
    return small


@dataclass(frozen=True, slots=True)
class Published:
    """What is committed; None where nothing is."""

    points: Mapping[str, Any]
    """Of `make collector`."""
    ceilings: StoredRun | None = None
    """A comparison with ladders, of rows with the collector on and off."""
    changed: Mapping[str, Any] | None = None
    """Of `make collector` with a Granian whose blocking threads empty their queues, beside the same built unchanged."""
    builds: Mapping[str, Any] | None = None
    """Of `make collector SETS=builds`: the same rows on another CPython."""
    stacks: Mapping[str, Any] | None = None
    """Of `make collector SETS=stacks,py-spy`: where the time goes."""
    merging: Mapping[str, Any] | None = None
    """Of `make collector SETS=builds` on a CPython that merges in place of a detached owner, and on one that does
    not."""


def read_evidence(root: Path = CHECKOUT) -> Published:
    """Raises ConfigError where there are no points."""
    folder = root / FOLDER
    points = read_json(folder / POINTS)
    if points is None:
        raise ConfigError(f"{FOLDER / POINTS}: expected the collector's evidence; `make collector`, then publish it")
    ceilings = folder / CEILINGS
    others = read_run(ceilings) if ceilings.exists() else None
    looked = (read_json(folder / name) for name in (CHANGED, BUILDS, STACKS, MERGING))
    return Published(points, others, *looked)


def keep(
    points: Path | None = None,
    ceilings: Path | None = None,
    changed: Path | None = None,
    builds: Path | None = None,
    stacks: Path | None = None,
    merging: Path | None = None,
    root: Path = CHECKOUT,
) -> list[Path]:
    """Write compact evidence of finished runs: of `make collector`, and a comparison with ladders; see Published."""
    folder, written = root / FOLDER, []
    folder.mkdir(parents=True, exist_ok=True)
    for run, name in (
        (points, POINTS),
        (changed, CHANGED),
        (builds, BUILDS),
        (stacks, STACKS),
        (merging, MERGING),
    ):
        if run is not None:
            evidence = read_json(run / EVIDENCE)
            if evidence is None or not evidence["finished"]:
                raise ConfigError(f"{run}: expected the folder of a finished `make collector`")
            write_json(folder / name, compact(evidence))
            written.append(folder / name)
    if ceilings is not None:
        write_evidence(read_run(ceilings), folder / CEILINGS)
        written.append(folder / CEILINGS)
    return written
