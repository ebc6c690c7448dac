"""docs/README.md: every page of findings as a question, its answer in a line, when and where it was measured."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiment.report.comparison import compare
from experiment.report.pages import memory
from experiment.report.sentences import ceiling
from experiment.report.tables import markdown
from experiment.setup import read_json
from experiment.store import StoredRun, contract_of, read_run

PAGE = Path("docs/README.md")
EVIDENCE = Path("notebooks/findings")
HEADINGS = ("question", "answer", "measured", "contract")
_LINK = re.compile(r": \[[^\]]*\]\([^)]*\)\.$")


@dataclass(frozen=True, slots=True)
class Entry:
    """A page: its question, the evidence that says when and where, and what its answer is made of."""

    page: str
    question: str
    evidence: str | None
    """None: the page's own first lines say it."""
    answer: Callable[[StoredRun], str] | str | None
    """Made from that evidence, or as it stands; None: the README's sentence about the page."""


def _ceilings(run: StoredRun) -> str:
    return "; ".join(f"{row.name}: {ceiling(row)}" for row in run.rows if row.bracket is not None)


def _ratio_of_ceilings(run: StoredRun) -> str:
    first, *_, last = compare([run]).lines()
    return _ceilings(run) if last[5] == "–" else f"{last[0]}: {last[5]} times {first[0]}"


def _reproduced(run: StoredRun) -> str:
    found = {row.name: str(row.bracket) for row in run.rows if row.bracket is not None}
    return "; ".join(f"{name}: {found[name]}" for name in ("pub-gil@quota-1", "pub-mt@quota-1") if name in found)


def _weights(run: StoredRun) -> str:
    return "; ".join(f"{line[0]} {line[2]} kB" for line in memory.lines(run))


_OVERLAP = "not always: the machine's speed changes by a third from hour to hour; ratios of costs agree"
_SURVIVAL = "rows × scenarios: latencies of everybody else, what was lost, memory before and after"
_BUILDS = "each row's cost to the same row on the build before, and which release of Granian mended the wake-up"
_SHARING = "a thread for each loop against a process for each: cost, and the objects that both threads count"
_FLAMES = "in the wake-up for each frame; the session core does not show"

ENTRIES = (
    Entry("free-threaded-cliff", "Why did free-threaded Python fall off a cliff?", "cliff/cells", None),
    Entry("who-frees-it", "And once no wake-up is lost, what is left on one core?", "collector/points", None),
    Entry("survival", "What do the others see when a client, or the backend, misbehaves?", "survival", _SURVIVAL),
    Entry("stock-and-threads", "What do server stack, build, loop and transport each cost?", "stock-and-threads", None),
    Entry("draining", "How far can good design take it?", "draining/run-1", None),
    Entry("other-languages", "How does that stand beside Rust, C++ and Go?", "foreign/run-1", None),
    Entry("builds", "What does each CPython change?", "builds/run-1", _BUILDS),
    Entry("two-cores", "What do two threads share that two processes do not?", "sharing/turns", _SHARING),
    Entry("memory", "What does a session weigh?", memory.LADDERS[1], _weights),
    Entry("gil-full", "What is the stock stack's ceiling at the full timing?", "gil-full", _ceilings),
    Entry("reproduce", "Do the public benchmark's rows come out the same here?", "reproduce", _reproduced),
    Entry("thread-scaling", "Does a second thread carry as much again?", "thread-scaling", _ratio_of_ceilings),
    Entry("thread-scaling-repeats", "And once more?", "thread-scaling-repeats", _ratio_of_ceilings),
    Entry("ladders-twice", "Does the same ladder give the same bracket twice?", "ladders-twice-1", _OVERLAP),
    Entry("flame-graphs", "Where does the time go?", None, _FLAMES),
)


def page(root: Path) -> str:
    """The index as Markdown, from the evidence and the README's sentences below `root`."""
    front = (root / "README.md").read_text(encoding="utf-8")
    lines = [_line(root, front, entry) for entry in ENTRIES]
    parts = ["# Findings", _HOW, markdown(HEADINGS, lines), "Beside them: [method.md](method.md) defines every word,"]
    parts[-1] += " and [adding-a-variant.md](adding-a-variant.md) adds a row, or a gateway in any language."
    return "\n\n".join(parts) + "\n"


_HOW = """\
Every page but the flame graphs is generated from evidence in `notebooks/findings/`; each says how to repeat it. The
contract's version says by which rules a page was measured: percentiles of version 1 are over answers that *arrived* in
the measured window, those of version 2 over frames that were *due* in it."""


def _line(root: Path, front: str, entry: Entry) -> tuple[str, ...]:
    question = f"[{entry.question}](findings/{entry.page}.md)"
    if entry.evidence is None:
        return question, str(entry.answer), "as its first lines say", "–"
    file = root / EVIDENCE / f"{entry.evidence}.json"
    evidence: Mapping[str, object] = read_json(file) or {}
    manifest = evidence.get("manifest", evidence)
    assert isinstance(manifest, Mapping)
    machine = manifest["machine"]
    at = f"{str(manifest['started'])[:10]}, {machine['cpus']} × {machine['cpu_model']}"
    match entry.answer:
        case None:
            answer = _sentence(front, entry.page)
        case str():
            answer = entry.answer
        case _:
            answer = entry.answer(read_run(file))
    return question, answer, at, str(contract_of(manifest))


def _sentence(front: str, page: str) -> str:
    """What the README says of a page, without the link."""
    for line in front.splitlines():
        if line.startswith("- ") and f"findings/{page}.md" in line:
            return _LINK.sub("", line.removeprefix("- "))
    raise LookupError(f"README.md has no sentence about {page}")
