"""The evidence of `make sharing`, kept in notebooks/findings/sharing/. Reads and writes, judges nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import machine_kept
from profiles.runs import interpreter_kept
from profiles.sharing.run import EVIDENCE

FOLDER = Path("notebooks") / "findings" / "sharing"
TURNS, TOUCHED, PROPOSED = "turns.json", "touched.json", "proposed.json"


def compact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Without what names the machine."""
    runs = [{**run, "interpreter": interpreter_kept(run["interpreter"])} for run in evidence["runs"]]
    return {**evidence, "machine": machine_kept(evidence["machine"]), "runs": runs}


class Published(NamedTuple):
    """What is committed; None where nothing is."""

    turns: Mapping[str, Any]
    """All windows of `make sharing`."""
    touched: Mapping[str, Any] | None = None
    """What a CPython that counts saw."""
    proposed: Mapping[str, Any] | None = None
    """Windows without a change of a package, and with it."""


def read_evidence(root: Path = CHECKOUT) -> Published:
    """Raises ConfigError without windows."""
    turns, touched, proposed = (read_json(root / FOLDER / name) for name in (TURNS, TOUCHED, PROPOSED))
    if turns is None:
        raise ConfigError(f"{FOLDER / TURNS}: expected evidence; `make sharing`, then publish it")
    return Published(turns, touched, proposed)


def keep(
    turns: Path | None = None, touched: Path | None = None, proposed: Path | None = None, root: Path = CHECKOUT
) -> list[Path]:
    """Write compact evidence of finished runs: of all windows, of one on a CPython that counts, and of one `WITH` a
    change."""
    written = []
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for run, name in ((turns, TURNS), (touched, TOUCHED), (proposed, PROPOSED)):
        if run is not None:
            evidence = read_json(run / EVIDENCE)
            if evidence is None or not evidence["finished"]:
                raise ConfigError(f"{run}: expected the folder of a finished `make sharing`")
            write_json(root / FOLDER / name, compact(evidence))
            written.append(root / FOLDER / name)
    return written
