"""Collapsed stacks as one HTML page with a flame graph: zoom by click, search by pattern, no network. Values only.

Ours, because no kept Python package draws one from stacks of any source (py-spy's and memray's draw their own only,
`speedscope` on PyPI is from 2019, d3-flame-graph needs node to bundle it). `flamegraph.html` is the page's template.
"""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiles.profilers.stacks import Stack

_TEMPLATE = Path(__file__).with_name("flamegraph.html")


def tree(stacks: Mapping[Stack, int], root: str = "all") -> dict[str, Any]:
    """Nodes as {"n": name, "v": weight, "c": children}, children sorted by name so that equal profiles look equal."""
    top: dict[str, Any] = {"n": root, "v": 0, "c": {}}
    for stack, weight in stacks.items():
        node = top
        node["v"] += weight
        for name in stack:
            node = node["c"].setdefault(name, {"n": name, "v": 0, "c": {}})
            node["v"] += weight
    return _listed(top)


def _listed(node: dict[str, Any]) -> dict[str, Any]:
    children = [_listed(child) for _, child in sorted(node["c"].items())]
    return {"n": node["n"], "v": node["v"], **({"c": children} if children else {})}


def page(stacks: Mapping[Stack, int], title: str, unit: str = "samples") -> str:
    """The whole page. `unit` is what a weight counts, for its tooltips."""
    # "</" would end the script element that the data lies in.
    data = json.dumps({"tree": tree(stacks), "unit": unit}, ensure_ascii=False, separators=(",", ":"))
    filled = _TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", html.escape(title))
    return filled.replace("{{data}}", data.replace("</", "<\\/"))
