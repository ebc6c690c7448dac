"""Collapsed stacks as one HTML page with a flame graph: zoom by click, search by pattern, no network. Values only.

Ours, because no kept Python package draws one from stacks of any source (py-spy's and memray's draw their own only,
`speedscope` on PyPI is from 2019, d3-flame-graph needs node to bundle it). `flamegraph.html` is the page's template.
"""

import html
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profiles.profilers.stacks import NATIVE, Stack

_TEMPLATE = Path(__file__).with_name("flamegraph.html")


def tree(stacks: Mapping[Stack, int], root: str = "all", before: Mapping[Stack, int] | None = None) -> dict[str, Any]:
    """Nodes as {"n": name, "v": weight, "c": children}, children sorted by name so that equal profiles look equal. With
    `before` each also has "b": its share of all weight there."""
    top: dict[str, Any] = {"n": root, "v": 0, "c": {}}
    for stack, weight in stacks.items():
        node = top
        node["v"] += weight
        for name in stack:
            node = node["c"].setdefault(name, {"n": name, "v": 0, "c": {}})
            node["v"] += weight
    if before is not None:
        shares: Counter[Stack] = Counter()
        for stack, weight in before.items():
            for depth in range(len(stack) + 1):
                shares[stack[:depth]] += weight
        _compared(top, (), shares)
    return _listed(top)


def _compared(node: dict[str, Any], path: Stack, before: Mapping[Stack, int]) -> None:
    node["b"] = round(before.get(path, 0) / (before.get((), 0) or 1), 5)
    for name, child in node["c"].items():
        _compared(child, (*path, name), before)


def without_threads(stacks: Mapping[Stack, int]) -> Counter[Stack]:
    """All threads taken together, so that two processes can be compared, whatever they call their threads."""
    found: Counter[Stack] = Counter()
    for (_, *frames), weight in stacks.items():
        found[tuple(frames) or (NATIVE,)] += weight
    return found


def _listed(node: dict[str, Any]) -> dict[str, Any]:
    children = [_listed(child) for _, child in sorted(node["c"].items())]
    compared = {"b": node["b"]} if "b" in node else {}
    return {"n": node["n"], "v": node["v"], **compared, **({"c": children} if children else {})}


def page(
    stacks: Mapping[Stack, int], title: str, unit: str = "samples", before: Mapping[Stack, int] | None = None
) -> str:
    """The whole page. `unit` is what a weight counts, for its tooltips. With `before` it shows a difference: widths are
    those of `stacks`; red has a larger share than before, blue a smaller one."""
    # "</" would end the script element that the data lies in.
    data = json.dumps({"tree": tree(stacks, before=before), "unit": unit}, ensure_ascii=False, separators=(",", ":"))
    filled = _TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", html.escape(title))
    return filled.replace("{{data}}", data.replace("</", "<\\/"))
