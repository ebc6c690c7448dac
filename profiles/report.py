"""`make report RUN=…`: a stored run as a folder, and one zip, ready to attach to an issue tracker.

One Markdown page (question, versions, shape, tables, what was seen, how to run it again), pictures as PNG and SVG,
flame graphs, forensics, and the minimal reproducer where it belongs. No absolute path, host name or user name is in it.
"""

import getpass
import json
import re
import shutil
import socket
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiment.ask import ConfigError
from experiment.report import compare, draw, markdown, rows_figure, save, text, write_capacity
from experiment.setup import CHECKOUT, read_json, write_json
from experiment.store import interpreter_label, machine_kept, read_run
from profiles.bisect.page import page as bisect_page
from profiles.bisect.run import EVIDENCE as BISECTION
from profiles.cliff.evidence import EVIDENCE, compact
from profiles.cliff.figures import draw_all
from profiles.cliff.page import page as cliff_page
from profiles.cliff.rates import VERSIONS
from profiles.cliff.survey import page as survey_page
from profiles.collector.evidence import EVIDENCE as COLLECTOR_EVIDENCE
from profiles.collector.evidence import Published
from profiles.collector.evidence import compact as compact_collector
from profiles.collector.figures import draw_all as draw_collector
from profiles.collector.page import page as collector_page
from profiles.profilers.collector import summary
from profiles.profilers.flamegraph import page as flame_page
from profiles.profilers.flamegraph import without_threads
from profiles.profilers.stacks import parse_collapsed
from profiles.session import said_apart
from profiles.sharing.evidence import Published as PublishedSharing
from profiles.sharing.evidence import compact as compact_sharing
from profiles.sharing.figures import ratios_figure
from profiles.sharing.page import page as sharing_page
from profiles.sharing.run import EVIDENCE as SHARING

HELD = CHECKOUT / "profiles" / "collector" / "reproducer" / "held_by_its_maker.py"
OF_SHARING = CHECKOUT / "profiles" / "sharing" / "reproducer"
OTHER_SERVERS = CHECKOUT / "profiles" / "cliff" / "reproducer" / "other_servers.py"
MOST_ZIP_BYTES = 10_000_000
REPRODUCER = CHECKOUT / "profiles" / "cliff" / "reproducer" / "lost_wakeup.py"
_TEXT = {".md", ".json", ".html", ".svg", ".txt", ".csv", ".py", ".patch"}
_ABSOLUTE = re.compile(r"(?<![\w./:<&-])/(?:[\w.+@-]+/)+(?=[\w.+@-])")
"""The folders of an absolute path of two parts or more; what it ends in stays."""


def report(run: Path) -> tuple[Path, Path]:
    """Write `<run>/report/` and `<run>/report.zip`, and return them.

    Raises:
        ConfigError: `run` is no folder of a run.
        RuntimeError: the zip would be larger than an issue tracker takes.
    """
    folder = run / "report"
    if folder.exists():
        shutil.rmtree(folder)
    if (evidence := read_json(run / EVIDENCE)) is not None:
        folder.mkdir()
        _cliff(evidence, folder)
    elif (evidence := read_json(run / COLLECTOR_EVIDENCE)) is not None:
        folder.mkdir()
        _collector(run, evidence, folder)
    elif (profile := read_json(run / "profile" / "profile.json")) is not None:
        folder.mkdir()
        _profile(run, profile, folder)
    elif (evidence := read_json(run / BISECTION)) is not None:
        folder.mkdir()
        _bisection(evidence, folder)
    elif (evidence := read_json(run / SHARING)) is not None:
        folder.mkdir()
        _sharing(evidence, folder)
    else:
        found = read_run(run)
        folder.mkdir()
        pictures = [folder / "latency.png"]
        write_capacity(found, folder)
        draw(found, pictures[0])
        if len(found.rows) > 1:
            for suffix in (".svg", ".png"):
                rows_figure(found.name, compare([found]).bars(), folder / f"rows{suffix}")
            pictures.append(folder / "rows.png")
        (folder / "capacity.md").unlink()
        _page(folder, [text(found), *_shown(pictures), _versions(found.manifest), _again(found.manifest)])
    _clean(folder)
    return folder, _zipped(folder, run / "report.zip")


def _cliff(evidence: Mapping[str, Any], folder: Path) -> None:
    small = compact(evidence)
    write_json(folder / EVIDENCE, small)
    if not set(VERSIONS) <= small["cells"].keys():
        for file in (REPRODUCER, OTHER_SERVERS):
            shutil.copy(file, folder)
        _page(folder, [survey_page(small)])
        return
    pictures = draw_all(small, None, folder, (".png", ".svg"))
    shutil.copy(REPRODUCER, folder)
    _page(folder, [cliff_page(small, None, [picture.name for picture in pictures], None)])


def _bisection(evidence: Mapping[str, Any], folder: Path) -> None:
    if not evidence["finished"]:
        raise ConfigError("expected a finished bisection; RESUME=results/<run> takes it up again")
    small = {key: value for key, value in evidence.items() if key != "environment"}
    write_json(folder / BISECTION, {**small, "machine": machine_kept(evidence["machine"])})
    if evidence["asked"]["cost"] is None:
        shutil.copy(REPRODUCER, folder)
    _page(folder, [bisect_page(evidence, evidence["command"])])


def _sharing(evidence: Mapping[str, Any], folder: Path) -> None:
    small = compact_sharing(evidence)
    write_json(folder / SHARING, small)
    for suffix in (".svg", ".png"):
        save(ratios_figure(small), folder / f"two-cores{suffix}")
    for file in sorted(OF_SHARING.iterdir()):
        if file.suffix in (".py", ".patch"):
            shutil.copy(file, folder)
    touched = small if any(run.get("shared") for run in small["runs"]) else None
    _page(folder, [sharing_page(PublishedSharing(small, touched), ("two-cores.png",))])


def _collector(run: Path, evidence: Mapping[str, Any], folder: Path) -> None:
    small = compact_collector(evidence)
    write_json(folder / COLLECTOR_EVIDENCE, small)
    has_chain = "chain" in small["settings"]["sets"]
    pictures = draw_collector(small, folder, (".png", ".svg")) if has_chain else []
    shutil.copy(HELD, folder)
    for point in evidence["points"]:
        if point.get("hottest") and not point["refused"]:
            place = run / "points" / f"{point['set']}-{point['row']}" / point["folder"]
            of_row = point["row"] if point["look"] == "stacks" else f"{point['row']}-{point['look']}"
            for name, called in (("stacks", of_row), ("wall", f"{of_row}-wall")):
                for file in sorted(place.glob(f"{name}.*")):
                    shutil.copy(file, folder / f"{called}{file.name.removeprefix(name)}")
    _differences(folder)
    flames = sorted(file.name for file in folder.glob("*.html"))
    parts = [collector_page(Published(small), [picture.name for picture in pictures])]
    parts += ["Flame graphs: " + ", ".join(f"[{name}]({name})" for name in flames) + "."] if flames else []
    _page(folder, parts)


def _differences(folder: Path) -> None:
    """Of collapsed stacks in a folder: a flame graph of what each row has more or less of than gil, on CPU and by wall
    clock."""
    found = {file.stem: parse_collapsed(file.read_text(encoding="utf-8")) for file in folder.glob("*.txt")}
    stacks = {name: without_threads(each) for name, each in found.items()}
    for name in sorted(stacks.keys() - {"gil", "gil-wall"}):
        base = "gil-wall" if name.endswith("-wall") else "gil"
        if base in stacks:
            title = f"{name} less {base}, threads together: red has a larger share of the samples than there, blue less"
            text = flame_page(stacks[name], title, before=stacks[base])
            (folder / f"{name}-less-gil.html").write_text(text, encoding="utf-8")


def _profile(run: Path, profile: Mapping[str, Any], folder: Path) -> None:
    manifest = read_json(run / "manifest.json") or {}
    for file in sorted((run / "profile").iterdir()):
        if file.suffix in _TEXT:
            shutil.copy(file, folder)
    slowed = profile["slowed"]
    parts = [
        f"# {profile['title']}",
        "Where does a gateway's time go at this load? Flame graphs open in any browser; `.speedscope.json` files in "
        "speedscope; `.txt` files are collapsed stacks.",
        _slowed(slowed),
    ]
    names = [file.name for file in sorted(folder.glob("*.html"))]
    if names:
        parts.append("\n".join(f"- [{name}]({name})" for name in names))
    for name, frames in profile["hottest"].items():
        lines = [[frame, f"{share:.1%}"] for frame, share in frames]
        parts.append(f"Hottest frames, {name} (share of samples that a frame is the innermost of):")
        parts.append(markdown(("frame", "share"), lines))
    if pictures := _flames(profile, folder):
        parts += _shown(pictures)
    if threads := profile["facts"].get("threads"):
        parts.append(_threads(threads))
    if profile["profiler"] == "collector":
        parts += [_collections(process, profile["sessions"]) for process in profile["facts"]["processes"]]
    for name, apart in profile.get("beside", {}).items():
        parts.append(f"Where {name} and it disagree by more than 5 points of self time: {said_apart(apart)}.")
    parts += [f"Not in it: {failure}" for failure in profile["facts"].get("failed", [])]
    for finding in profile["facts"].get("findings", []):
        stack = "\n".join(f"    {frame}" for frame in finding["stack"])
        parts.append(f"**{finding['kind']}**: {finding['what']}\n\n{stack}")
        if finding["kind"] == "lost wake-up" and not (folder / REPRODUCER.name).exists():
            shutil.copy(REPRODUCER, folder)
    _page(folder, [*parts, _versions(manifest), _again(manifest, profile["profiler"])])


def _flames(profile: Mapping[str, Any], folder: Path) -> list[Path]:
    """The hottest frames as bars: what a tracker shows without a click."""
    frames = [pair for found in profile["hottest"].values() for pair in found][:15]
    if not frames:
        return []
    figure = Figure(figsize=(9, 1 + 0.3 * len(frames)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(frames), 0, -1), [share * 100 for _, share in frames], color="tab:orange")
    axes.set_yticks(range(len(frames), 0, -1), [frame[-60:] for frame, _ in frames], fontsize=7)
    axes.set_xlabel("% of samples")
    axes.set_title(str(profile["title"]), fontsize=9)
    for suffix in (".png", ".svg"):
        save(figure, folder / f"hottest{suffix}")
    return [folder / "hottest.png"]


def _slowed(slowed: Mapping[str, Any]) -> str:
    if slowed["ratio"] is None:
        return "What profiling cost was not measured."
    return (
        f"{slowed['us_per_session_second']:.0f} µs per session-second without the profiler, "
        f"{slowed['us_per_session_second_profiled']:.0f} with it: × {slowed['ratio']:.2f}."
    )


def _threads(threads: list[dict[str, Any]]) -> str:
    keys = ("on_cpu_ms", "run_queue_wait_ms", "voluntary_switches", "involuntary_switches")
    lines = [
        [str(thread["name"]), *("–" if thread[key] is None else f"{thread[key]:.0f}" for key in keys)]
        for thread in threads
    ]
    return markdown(("thread", "on CPU ms", "run-queue wait ms", "voluntary switches", "involuntary switches"), lines)


def _collections(process: Mapping[str, Any], sessions: int) -> str:
    """One process's: what its collections cost, whose the objects are that are alive, and what one more frees."""
    figures = [
        [name.replace("_", " "), "–" if value is None else f"{value:.1f}"]
        for name, value in summary(process, sessions).items()
    ]
    parts = [markdown(("in the window", ""), figures)]
    if owners := process["owners"]:
        headings = ("owner", "objects alive", "of them queued for it", "the commonest")
        lines = [
            [
                owner["thread"],
                str(owner["objects"]),
                str(owner["queued"]),
                ", ".join(f"{kind} {count}" for kind, count in list(owner["queued_types"].items())[:3]) or "–",
            ]
            for owner in owners
        ]
        parts.append(markdown(headings, lines))
    freed = ", ".join(f"{kind} {count}" for kind, count in process["freed"].items()) or "nothing"
    parts.append(f"One more collection after the window freed {process['freed_in_all']} objects: {freed}.")
    return "\n\n".join(parts)


def _versions(manifest: Mapping[str, Any]) -> str:
    machine = machine_kept(manifest.get("machine", {}))
    lines = ["## What ran", *(f"- {key}: {value}" for key, value in machine.items() if value is not None)]
    for name, row in manifest.get("rows", {}).items():
        shape = {key: value for key, value in row["shape"].items() if value is not None}
        lines.append(f"- {name}: shape {json.dumps(shape)}, CPUs {json.dumps(row['cpus'])}")
        if facts := row.get("interpreter"):
            packages = ", ".join(f"{package} {version}" for package, version in facts["packages"].items())
            lines.append(f"  CPython {interpreter_label(facts)}, GIL enabled: {facts.get('gil_enabled')}; {packages}")
    lines.append(f"- laboratory: commit {manifest.get('lab', {}).get('commit')}")
    return "\n".join(lines)


def _again(manifest: Mapping[str, Any], profiler: str | None = None) -> str:
    ask, rows = manifest["ask"], manifest["rows"].values()
    variants, shapes = (dict.fromkeys(row[key]["name"] for row in rows) for key in ("variant", "shape"))
    variants = dict.fromkeys(ask.get("variants") or variants)  # as typed: with what is laid over one of them
    timing = f"TIMING={manifest['timing']['name']}"
    options = [f"{'VARIANTS' if ask['verb'] == 'compare' else 'VARIANT'}={','.join(variants)}"]
    options += [f"SHAPE={','.join(shapes)}", timing]
    options += [f"{name.upper()}={_typed(ask[name])}" for name in _ASKED if ask.get(name)]
    if ask.get("overlay"):
        options.append(f'WITH="{" ".join(ask["overlay"])}"')
    if profiler is not None:
        options.append(f"PROFILER={profiler}")
    if ask["verb"] == "reproduce":
        options = [timing]
    return f"## How to run it again\n\n    make {ask['verb']} {' '.join(options)}"


_ASKED = ("sessions", "rounds", "harness", "receive", "pythons", "keep_env")


def _typed(value: str | int | list[int] | list[str]) -> str:
    """As on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _shown(pictures: list[Path]) -> list[str]:
    return [f"![{picture.stem}]({picture.name})" for picture in pictures]


def _page(folder: Path, parts: list[str]) -> None:
    (folder / "report.md").write_text("\n\n".join(part.rstrip() for part in parts) + "\n", encoding="utf-8")


def _clean(folder: Path) -> None:
    """Take out what names the machine or its owner."""
    for file in folder.iterdir():
        if file.suffix in _TEXT:
            before = file.read_text(encoding="utf-8")
            after = anonymous(before)
            if after != before:
                file.write_text(after, encoding="utf-8")


def anonymous(words: str) -> str:
    """Without the checkout's and other absolute paths, this host's name and its user's."""
    words = words.replace(f"{CHECKOUT}/", "").replace(str(CHECKOUT), "<checkout>")
    words = _ABSOLUTE.sub("…/", words)
    for name, stands_for in ((socket.gethostname(), "<host>"), (getpass.getuser(), "<user>")):
        if name not in ("root", "localhost", "user"):  # words of every machine
            words = re.sub(rf"\b{re.escape(name)}\b", stands_for, words)
    return words


def _zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"report/{file.name}")
    size = target.stat().st_size
    if size > MOST_ZIP_BYTES:
        target.unlink()
        raise RuntimeError(
            f"the report has {size / 1e6:.1f} MB as a zip, more than {MOST_ZIP_BYTES / 1e6:.0f}; see {folder}"
        )
    return target
