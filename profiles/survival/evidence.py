"""The evidence of `make faults`, `make overload` and `make soak` in compact form, kept in notebooks/findings/."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import machine_kept
from profiles.runs import interpreter_kept
from profiles.survival import overload
from profiles.survival.run import EVIDENCE

KEPT = Path("notebooks") / "findings" / "survival.json"
KEPT_OVERLOAD = Path("notebooks") / "findings" / "overload.json"
KEPT_SOAKS = Path("notebooks") / "findings" / "soak.json"


def compact(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Without what names the machine."""
    small = dict(evidence)
    small["machine"] = machine_kept(evidence["machine"])
    small["rows"] = {
        name: row if row["refused"] else {**row, "interpreter": interpreter_kept(row["interpreter"])}
        for name, row in evidence["rows"].items()
    }
    return small


def keep(runs: Sequence[Path], root: Path = CHECKOUT) -> Path:
    """Write compact evidence of finished `make faults`: the rows of all of them. Raises ConfigError where one is none,
    or where they differ in more than rows."""
    first, *more = _alike(runs, EVIDENCE, "faults", {"rows": []})
    rows = {name: row for one in (first, *more) for name, row in one["rows"].items()}
    write_json(root / KEPT, first | {"settings": first["settings"] | {"rows": list(rows)}, "rows": rows})
    return root / KEPT


def keep_overload(runs: Sequence[Path], root: Path = CHECKOUT) -> Path:
    """The same of `make overload`; each row has the shape of the last run that has it."""
    first, *more = _alike(runs, overload.EVIDENCE, "overload", {"shapes": {}})
    rows, shapes = dict(first["rows"]), dict(first["settings"]["shapes"])
    for one in more:
        rows |= one["rows"]
        shapes |= one["settings"]["shapes"]
    write_json(root / KEPT_OVERLOAD, first | {"settings": first["settings"] | {"shapes": shapes}, "rows": rows})
    return root / KEPT_OVERLOAD


def _alike(runs: Sequence[Path], file: str, verb: str, apart: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compact evidence of each run. `apart`: settings in which they may differ, as they are compared."""
    found = []
    for run in runs:
        evidence = read_json(run / file)
        if evidence is None or not evidence.get("finished"):
            raise ConfigError(f"{run}: expected the folder of a finished `make {verb}`")
        found.append(compact(evidence))
    first = found[0]
    for run, other in zip(runs, found, strict=True):
        if unlike := [name for name in ("contract", "machine") if other[name] != first[name]]:
            raise ConfigError(f"{run}: expected a run like {runs[0]}; it has another {', '.join(unlike)}")
        if {**other["settings"], **apart} != {**first["settings"], **apart}:
            raise ConfigError(f"{run}: expected a run like {runs[0]}; it has other settings")
    return found


def read_evidence(root: Path = CHECKOUT) -> dict[str, Any]:
    """Raises ConfigError where there is none."""
    evidence = read_json(root / KEPT)
    if evidence is None:
        raise ConfigError(f"{KEPT}: expected the evidence of `make faults`; run it, then publish it")
    return evidence


def read_overload(root: Path = CHECKOUT) -> dict[str, Any]:
    """Raises ConfigError where there is none."""
    evidence = read_json(root / KEPT_OVERLOAD)
    if evidence is None:
        raise ConfigError(f"{KEPT_OVERLOAD}: expected the evidence of `make overload`; run it, then publish it")
    return evidence


def keep_soaks(runs: Sequence[Path], root: Path = CHECKOUT) -> Path:
    """Write compact evidence of finished soaks, in this order. Raises ConfigError where one is none."""
    kept = []
    for run in runs:
        soak, manifest = read_json(run / "soak.json"), read_json(run / "manifest.json")
        if soak is None or manifest is None:
            raise ConfigError(f"{run}: expected the folder of a finished `make soak`")
        ((name, row),) = manifest["rows"].items()
        row = {
            "name": name,
            "shape": row["shape"],
            "variant": row["variant"],
            "interpreter": interpreter_kept(row["interpreter"]),
        }
        machine = machine_kept(manifest["machine"])
        kept.append({"started": manifest["started"], "machine": machine, "row": row, **soak})
    write_json(root / KEPT_SOAKS, {"soaks": kept})
    return root / KEPT_SOAKS


def read_soaks(root: Path = CHECKOUT) -> dict[str, Any]:
    """Raises ConfigError where there is none."""
    evidence = read_json(root / KEPT_SOAKS)
    if evidence is None:
        raise ConfigError(f"{KEPT_SOAKS}: expected the evidence of `make soak`; run it, then publish it")
    return evidence
