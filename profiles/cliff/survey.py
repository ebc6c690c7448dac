"""What `make survey` saw, as Markdown: which servers lose wake-ups under the cliff's bursts. Pure."""

from experiment.report import markdown
from profiles.cliff.page import machine_line
from profiles.cliff.rates import HEADINGS, WHY, CellRate, Evidence, cell_rates, per_million


def page(evidence: Evidence) -> str:
    """Claim, evidence, doubts, and how to see it again."""
    rates = cell_rates(evidence)
    refused = [f"- {name}: {cell['refused']}" for name, cell in evidence["cells"].items() if cell["refused"]]
    parts = ["# Which servers lose wake-ups?", machine_line(evidence), "\n".join(f"- {line}" for line in claims(rates))]
    parts += ["## Evidence", markdown(HEADINGS, [cell.line() for cell in rates])]
    parts.append("\n".join(f"- {verdict}: {why}." for verdict, why in WHY.items()))
    if refused:
        parts += ["Did not run:", "\n".join(refused)]
    parts += ["## What would change our mind", _DOUBT, "## How to repeat", _REPEAT]
    return "\n\n".join(parts) + "\n"


def claims(rates: list[CellRate]) -> list[str]:
    """A sentence for each verdict, those that stall first."""
    affected = [cell for cell in rates if cell.verdict == "affected"]
    said = [f"{cell.name} stalls: {per_million(cell.rate)} times in a million frames." for cell in affected]
    for verdict in ("unaffected", "not resolved"):
        cells = [cell for cell in rates if cell.verdict == verdict]
        if cells:
            most = max(cell.rate.high for cell in cells) * 1e6
            names = ", ".join(cell.name for cell in cells)
            said.append(f"{verdict}: {names}. None stalled: less than {most:.3g} times in a million each (95 %).")
    return said


_DOUBT = """\
- A stall of a server that is called unaffected: its rate would lie above the limit that the table gives.
- A reference that does not stall on this machine: then nothing can be called unaffected, and the table says so."""

_REPEAT = """\
`make survey` (`DRY_RUN=1` says how long it takes; `RESUME=results/<run>` goes on). One server:
`python profiles/cliff/reproducer/other_servers.py uvicorn --port 8000`, with the clients of `lost_wakeup.py`."""
