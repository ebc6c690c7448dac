"""Puts a run's figures where readers look: compact evidence, picture, and the generated block of the README.

Numbers in the README come from here alone: `python -m experiment publish results/<run>`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment.config import CHECKOUT
from experiment.figure import latency_figure
from experiment.ladder import Tried, bracket
from experiment.store import read_json, write_json
from experiment.tables import ConfigError, Slo

BEGIN, END = "<!-- finding:begin, written by `python -m experiment publish` -->", "<!-- finding:end -->"
EVIDENCE = Path("notebooks/findings")
PICTURES = Path("docs/findings")

_INTERPRETER_KEYS = ("version", "free_threaded", "gil_enabled", "compiler", "pgo", "lto", "libc")
_LOAD_KEYS = ("newest_ms", "oldest_ms", "send_lateness_ms", "partials", "failures", "failures_total", "stalls")


def publish(run: Path, root: Path = CHECKOUT) -> list[Path]:
    """Write evidence, picture and README block of one finished run; returns what was written.

    Raises:
        ConfigError: there is no finished run of a gateway of ours in that folder.
    """
    evidence = collect(run)
    stem = "-".join(evidence[part]["name"] for part in ("variant", "shape", "timing"))
    file, picture = root / EVIDENCE / f"{stem}.json", root / PICTURES / f"{stem}.svg"
    for path in (file, picture):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, evidence)
    latency_figure(title(evidence), evidence["points"], Slo(**evidence["slo"]), picture)
    readme = root / "README.md"
    readme.write_text(_replaced(readme.read_text(encoding="utf-8"), lines(evidence, picture.relative_to(root))))
    return [file, picture, readme]


def collect(run: Path) -> dict[str, Any]:
    """What of a run is kept for good: its manifest without notes, and each point's figures."""
    manifest, verdict = read_json(run / "manifest.json"), read_json(run / "verdict.json")
    if manifest is None or verdict is None or not verdict["finished"] or verdict["external"]:
        raise ConfigError(f"{run}: expected the folder of a finished run of one of our variants")
    points = []
    for path in sorted((run / "points").glob("*/summary.json"), key=lambda path: path.stat().st_mtime):
        point = read_json(path) or {}
        load = {key: (point["load"] or {}).get(key) for key in _LOAD_KEYS}
        kept = {key: point[key] for key in ("sessions", "status", "reasons", "harness", "gateway")}
        points.append({**kept, "load": load})
    interpreters = {
        role: {key: facts[key] for key in (*_INTERPRETER_KEYS, "packages")}
        for role, facts in manifest["interpreters"].items()
    }
    machine = {key: manifest["machine"][key] for key in ("cpu_model", "cpus", "kernel", "memory_bytes", "cgroup")}
    tables = {key: manifest[key] for key in ("started", "lab", "variant", "shape", "timing", "slo", "simulator")}
    return {**tables, "interpreters": interpreters, "machine": machine, "verdict": verdict["bracket"], "points": points}


def title(evidence: Mapping[str, Any]) -> str:
    """Row, shape, timing and interpreter: what a figure must say of itself."""
    parts = [evidence[part]["name"] for part in ("variant", "shape", "timing")]
    return " · ".join([*parts, f"CPython {evidence['interpreters']['gateway']['version']}"])


def lines(evidence: Mapping[str, Any], picture: Path) -> str:
    """The README's block: the finding, its picture, its facts."""
    tried = [Tried(point["sessions"], point["status"]) for point in evidence["points"]]
    known = bracket(tried)
    at = next(point for point in evidence["points"] if point["sessions"] == known.passed and point["status"] == "PASS")
    failed = next(point for point in evidence["points"] if point["sessions"] == known.failed)
    machine, gateway, load = evidence["machine"], at["gateway"], at["load"]
    shape, timing = evidence["shape"]["name"], evidence["timing"]["name"]
    packages = evidence["interpreters"]["gateway"]["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("granian", "fastapi", "uvloop", "h2"))
    return "\n".join(
        [
            f"- **{evidence['variant']['name']}** ({evidence['variant']['about']}) **{known}** sessions on {shape}, "
            f"timing {timing}, one run of each point.",
            f"- At {at['sessions']} sessions: newest p50/p95 {_pair(load['newest_ms'])} ms, oldest "
            f"{_pair(load['oldest_ms'])} ms, {load['failures_total']} failures, {gateway['cpu']:.2f} of the core.",
            f"- That is **{gateway['us_per_session_second']:.0f} µs of CPU per session-second**: fifty frames in, one "
            "answer out.",
            f"- At {failed['sessions']}: {failed['reasons'][0] if failed['reasons'] else 'no reason stored'}.",
            f"- CPython {evidence['interpreters']['gateway']['version']}, {versions}; {machine['cpus']} × "
            f"{machine['cpu_model']}, Linux {machine['kernel'].split('-')[0]}. Evidence: "
            f"`{EVIDENCE / picture.with_suffix('.json').name}`.",
            "",
            f"![Latency over sessions: {title(evidence)}]({picture})",
        ]
    )


def _pair(distribution: Mapping[str, float]) -> str:
    return f"{distribution['p50']:.0f}/{distribution['p95']:.0f}"


def _replaced(text: str, block: str) -> str:
    head, found_begin, rest = text.partition(BEGIN)
    _, found_end, tail = rest.partition(END)
    if not found_begin or not found_end:
        raise ConfigError(f"README.md: expected the lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n{block}\n{END}{tail}"
