"""The findings beside gateways that are not ours, in other languages: their page. Pure."""

import json
import math
from collections.abc import Mapping

from experiment.report.comparison import compare
from experiment.report.sentences import beside, receiving, tables
from experiment.store import StoredRow, StoredRun

_KEPT = ("about", "command", "env", "breaks")
"""What of a foreign row's table is needed to run it again."""


def page(runs: Mapping[str, StoredRun], picture: str) -> str:
    """The findings as Markdown.

    Args:
        runs: comparisons of foreign rows and ours, each with the path of its kept evidence.
        picture: of the first of them.
    """
    first = next(iter(runs.values()))
    said = [line for run in runs.values() for line in _sentences(run)]
    parts = ["# Beside gateways in other languages", _WHAT, f"Measured on {first.machine}."]
    parts += ["\n".join(f"- {line}" for line in said), f"![{', '.join(row.name for row in first.rows)}]({picture})"]
    for evidence, run in runs.items():
        parts += [f"## {', '.join([*run.shapes, *receiving(run), run.timing])}", *tables(evidence, run)]
    rows = {row.name: row for run in runs.values() for row in run.rows if is_foreign(row)}
    parts += ["## The foreign rows", _ROWS]
    parts.append("```toml\n" + "\n\n".join(_table(row) for row in rows.values()) + "\n```")
    parts += ["## What to know before quoting this", _KNOW]
    return "\n\n".join(parts) + "\n"


def is_foreign(row: StoredRow) -> bool:
    """Whether a row is a command line that is not ours."""
    return "command" in row.facts["variant"]


def _sentences(run: StoredRun) -> list[str]:
    """The cheapest of our rows against each foreign one."""
    known = compare([run])
    rows = [row for row in run.rows if row.points]
    ours = [row for row in rows if not is_foreign(row)]
    cheapest = min(ours, key=lambda row: min(known.costs(row).values(), default=math.inf), default=None)
    pairs = [(cheapest, other) for other in rows if cheapest is not None and is_foreign(other)]
    return [said for row, other in pairs if (said := beside(known, row, other)) is not None]


def _table(row: StoredRow) -> str:
    facts = {key: row.facts["variant"][key] for key in _KEPT if row.facts["variant"].get(key)}
    return "\n".join([f"[foreign.{row.name}]", *(f"{key} = {_toml(value)}" for key, value in facts.items())])


def _toml(value: object) -> str:
    """Strings, lists and inline tables of them; JSON's strings are TOML's."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


_WHAT = """\
The foreign rows are the gateways of websocket-stt-bench, the public benchmark that this project continues: built by
hand from their published source, with nothing changed and nothing of them in this repository, and run by a command
line. Runner, simulator, load generator, pinning, gates and verdicts are the same for all; a run interleaves rows."""

_ROWS = """\
As they stood in experiments.toml, their programs on PATH. A rule named under `breaks` is one that the program was
seen to break; it was measured nevertheless, and the tables' notes say which it broke in that run."""

_KNOW = """\
- The design is what is ahead, not the language. The foreign gateways are woken by every frame, fifty times a second
  for each session, as the benchmark's authors wrote them; drain reads a session's socket twice a second. The same
  design in Rust or C++ would cost less still: the kernel's floor in draining.md is what it could come near to.
- Rows that answer each frame's arrival also answer a ping at once. drain answers pings, closes and violations within
  0.9 s, by its setting, and its answers come some 10 ms later: all within the contract, and not for nothing.
- The broken rules are corners: spellings of the start message, a ping before it, classes of error, health's body, a
  frame without a mask. None saves work on the path that these loads take. rust-axum makes up a tick that a slow answer
  held up (`one-in-flight`, `skipped-tick`): more work than the contract's, but only where answers take a second.
- Who pays for receiving: on plain loopback the sender's CPU does the kernel's work of it, and a gateway's costs leave
  it out (`receive = sender`). With `receive = gateway` the gateway's CPU does it, as behind a network card, together
  with what the harness receives, and takes an interrupt for each packet: an upper bound. That work is the same for all
  rows, so the lead of a row that does little beside it shrinks. All-in is everything that ran on the gateway's CPU.
- rust-sync and rust-axum at times no longer answer after `hostile-too-fast`, two clients that send as fast as they can:
  the rules that come after it in the suite, and stand under `breaks`, then fail with it.
- What one whole vCPU carries was searched once, with `receive = gateway`. Of gil, gil-picows, threads, drain-h2 it was
  found. Of rust-sync, cpp-uws and drain it was not: with two CPUs the harness ends before they do, and their brackets
  say only what they passed. On a machine with eight or more: `make compare SHAPE=cpuset-1 RECEIVE=gateway TIMING=full`
  with these rows, some 25 minutes a row.
- Compilers are those of the machine, not of the authors' images; the tables of the rows name them."""
