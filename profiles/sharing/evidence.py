"""The evidence of `make sharing`, kept in notebooks/findings/sharing/. Reads and writes, judges nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiment.ask import ConfigError
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import machine_kept
from profiles.runs import interpreter_kept
from profiles.sharing.run import EVIDENCE

FOLDER = Path("notebooks") / "findings" / "sharing"
TURNS, TOUCHED, PROPOSED, SCHEDULED = "turns.json", "touched.json", "proposed.json", "scheduled.json"


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
    scheduled: Sequence[Mapping[str, Any]] = ()
    """What the scheduler did to the threads of whole gateways: `{title, sessions, threads}` of each profile."""


def read_evidence(root: Path = CHECKOUT) -> Published:
    """Raises ConfigError without windows."""
    turns, touched, proposed = (read_json(root / FOLDER / name) for name in (TURNS, TOUCHED, PROPOSED))
    if turns is None:
        raise ConfigError(f"{FOLDER / TURNS}: expected evidence; `make sharing`, then publish it")
    scheduled = (read_json(root / FOLDER / SCHEDULED) or {}).get("profiles", ())
    return Published(turns, touched, proposed, scheduled)


def keep(
    turns: Path | None = None,
    touched: Path | None = None,
    proposed: Path | None = None,
    profiles: Sequence[Path] = (),
    root: Path = CHECKOUT,
) -> list[Path]:
    """Write compact evidence of finished runs: of all windows, of one on a CPython that counts, of one `WITH` a change;
    and of `make profile PROFILER=sched`."""
    written = []
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for run, name in ((turns, TURNS), (touched, TOUCHED), (proposed, PROPOSED)):
        if run is not None:
            evidence = read_json(run / EVIDENCE)
            if evidence is None or not evidence["finished"]:
                raise ConfigError(f"{run}: expected the folder of a finished `make sharing`")
            write_json(root / FOLDER / name, compact(evidence))
            written.append(root / FOLDER / name)
    if profiles:
        write_json(root / FOLDER / SCHEDULED, {"profiles": [_scheduled(run) for run in profiles]})
        written.append(root / FOLDER / SCHEDULED)
    return written


def _scheduled(run: Path) -> dict[str, Any]:
    found = [read_json(file) or {} for file in sorted(run.glob("profile*/profile.json"))]
    for profile in found:
        if profile.get("profiler") == "sched":
            return {**{key: profile[key] for key in ("title", "sessions")}, "threads": profile["facts"]["threads"]}
    raise ConfigError(f"{run}: expected the folder of `make profile PROFILER=sched`")
