"""What the turns of the cliff's cells add up to: rates, their ratio to the reference, verdicts.

Pure: evidence in, values out. Saying it in prose is `page`'s business, drawing it `figures`'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profiles.cliff import hazard

Evidence = Mapping[str, Any]
VERSIONS = ("2.7.4", "2.8.0", "2.8.1", "newest")
"""The cells that differ in Granian's version alone."""
WHY = {
    "affected": "stalls were seen",
    "unaffected": "no stall, and the upper limit of its ratio to the reference is low enough",
    "not resolved": "no stall, in too few frames to say more",
}


@dataclass(frozen=True, slots=True)
class CellRate:
    """What the turns of a cell add up to, beside the reference's."""

    name: str
    about: str
    rate: hazard.PoissonRate
    ratio: hazard.RateRatio | None
    """To the reference; None for the reference itself, or where neither stalled."""
    verdict: str
    looks: int
    lost: int
    """Looks at a stalled connection, and how many lost wake-ups they named, each task once in a turn."""

    def line(self) -> list[str]:
        """For the table."""
        rate = self.rate
        compared = "–"
        if self.ratio is not None:
            value = "–" if self.ratio.ratio is None else f"{self.ratio.ratio:.2g}"
            compared = f"{value} ({self.ratio.low:.2g} – {self.ratio.high:.2g}), p = {self.ratio.p_value:.2g}"
        return [
            self.name,
            self.about,
            f"{rate.exposure:,.0f}",
            str(rate.events),
            per_million(rate),
            compared,
            f"{self.lost} in {self.looks} looks" if self.looks else "–",
            self.verdict,
        ]


HEADINGS = (
    "cell",
    "what is different",
    "frames",
    "stalls",
    "per million frames (95 %)",
    "to the reference (95 %)",
    "lost wake-up named",
    "verdict",
)


def cell_rates(evidence: Evidence) -> list[CellRate]:
    """Every cell that ran, the reference first as it stands in the file."""
    counts = counts_of(evidence)
    settings = evidence["settings"]
    reference = hazard.poisson_rate(*counts[settings["reference"]])
    found = []
    for name, (stalls, frames) in counts.items():
        rate = hazard.poisson_rate(stalls, frames)
        same = name == settings["reference"] or not (stalls + reference.events)
        ratio = None if same else hazard.rate_ratio(rate, reference)
        turns = evidence["cells"][name]["turns"]
        found.append(
            CellRate(
                name,
                evidence["cells"][name]["factors"]["about"],
                rate,
                ratio,
                verdict(rate, ratio, settings["fraction"]),
                sum(len(turn["findings"]) for turn in turns),
                sum(len(_lost(turn)) for turn in turns),
            )
        )
    return found


def _lost(turn: Mapping[str, Any]) -> set[str]:
    """What lost its wake-up in a turn: the tasks. One stays stuck, and later looks may name it again."""
    return {finding["what"] for look in turn["findings"] for finding in look if finding["kind"] == "lost wake-up"}


def per_million(rate: hazard.PoissonRate) -> str:
    return f"{rate.rate * 1e6:.3g} ({rate.low * 1e6:.2g} – {rate.high * 1e6:.3g})"


def counts_of(evidence: Evidence) -> dict[str, tuple[int, float]]:
    """Stalls and acknowledged frames of every cell that ran, over its turns."""
    turns = {name: cell["turns"] for name, cell in evidence["cells"].items() if cell["turns"]}
    return {
        name: (sum(turn["stalls"] for turn in each), sum(turn["frames"] for turn in each))
        for name, each in turns.items()
    }


def earlier_rates(evidence: Evidence, cells: Mapping[str, CellRate]) -> list[tuple[str, str, hazard.PoissonRate]]:
    """Of the cells that did not stall: when an earlier run saw them stall, the cell, and its rate then."""
    still = {name for name, cell in cells.items() if not cell.rate.events}
    return [
        (str(run["started"])[:10], name, hazard.poisson_rate(stalls, frames))
        for run in evidence.get("earlier", [])
        for name, (stalls, frames) in run["counts"].items()
        if stalls and name in still
    ]


def verdict(rate: hazard.PoissonRate, ratio: hazard.RateRatio | None, fraction: float) -> str:
    """affected: it stalled. unaffected: it did not, and the upper limit of its ratio to the reference is under
    `fraction`: the reference's own rate is uncertain, too."""
    if rate.events:
        return "affected"
    return "unaffected" if ratio is not None and ratio.high < fraction else "not resolved"


def lives(evidence: Evidence, name: str) -> tuple[list[float], list[bool]]:
    """Frames of every connection of a cell, and whether it stalled: for `hazard.survival`."""
    pairs = [life for turn in evidence["cells"][name]["turns"] for life in turn["lives"] if life[0]]
    return [float(frames) for frames, _ in pairs], [bool(stalled) for _, stalled in pairs]
