"""bisect.md of a run's folder: what changed between which two neighbours, on what evidence, for a tracker. Pure."""

from collections.abc import Mapping
from typing import Any

from experiment.report import markdown
from experiment.store import interpreter_label
from profiles.bisect.run import seen

HEADINGS = ("candidate", "interpreter", "decision", "seen")
_SAYS = {
    "stalls": {"changed": "stalls", "unchanged": "does not stall"},
    "cost": {"changed": "costs that", "unchanged": "costs the same"},
}
_DOUBT = {
    "stalls": "a candidate that stalls more seldom than the test asks for, or under another load than these bursts",
    "cost": "a difference between the candidates in another package; bisect.json has all of each",
}


def lines(evidence: Mapping[str, Any]) -> list[list[str]]:
    """One line for each candidate that was looked at, in the candidates' order."""
    looked_at, said = evidence["looked_at"], _SAYS["stalls" if evidence["asked"]["cost"] is None else "cost"]
    return [
        [label, _interpreter(one), said.get(one["decision"], "no decision"), seen(one)]
        for label in evidence["candidates"]
        if (one := looked_at.get(label)) is not None
    ]


def _interpreter(one: Mapping[str, Any]) -> str:
    return "–" if one["interpreter"] is None else interpreter_label(one["interpreter"])


def answer(evidence: Mapping[str, Any]) -> str:
    """In a sentence."""
    change, what = evidence["change"], evidence["asked"]["package"] or "CPython"
    if change is not None:
        return f"{what} changed it between {change['before']} and {change['after']}."
    return f"No change was found: {evidence['nothing'] or 'it was stopped before the end'}."


def took(evidence: Mapping[str, Any]) -> str:
    """What it rests on, and how long it was at it."""
    looked_at = evidence["looked_at"].values()
    frames = sum(one["frames"] for one in looked_at)
    pairs = sum(len(one["pairs"]) for one in looked_at)
    what = f"{frames:,} frames" if frames else f"{pairs} pairs of points"
    many = len(evidence["candidates"])
    return f"{len(looked_at)} of {many} candidates looked at, {what}, {evidence['seconds'] / 60:.1f} min."


def page(evidence: Mapping[str, Any], command: str) -> str:
    """The Markdown page.

    Args:
        command: what to type to see it again.
    """
    machine, settings, asked = evidence["machine"], evidence["settings"], evidence["asked"]
    error = settings["error"] if asked["cost"] is None else settings["cost_error"]
    doubt = _DOUBT["stalls" if asked["cost"] is None else "cost"]
    parts = (
        f"# {answer(evidence)}",
        f"Asked: {evidence['subject']} {took(evidence)} Each was decided by a sequential probability ratio test whose "
        f"two errors are {error:g}.",
        markdown(HEADINGS, lines(evidence)),
        f"Measured on {machine['cpus']} × {machine['cpu_model']}, Linux {machine['kernel']}, begun "
        f"{evidence['started']}. Seen again by:",
        f"    {command}",
        f"What would change our mind: {doubt}.",
    )
    return "\n\n".join(parts) + "\n"


def command(asked: Mapping[str, Any]) -> str:
    """The make command that asks the same again."""
    names = {"package": "PACKAGE", "oldest": "FROM", "newest": "TO", "cell": "CELL", "cost": "COST"}
    words = [f'{name}="{asked[key]}"' for key, name in names.items() if asked[key] is not None]
    if asked["cost"] is not None:
        words.append(f"VARIANT={asked['variant'] or 'gil'}")
    if asked["pythons"]:
        words.append(f"PYTHONS={','.join(asked['pythons'])}")
    return " ".join(["make bisect", *words])
