"""Every rule, in the contract's order: importing this registers them."""

from importlib import import_module

from tests.conformance.rule import RULES

__all__ = ["RULES"]

for _group in (
    "start",
    "audio",
    "framing",
    "cadence",
    "answers",
    "errors",
    "lifecycle",
    "hostile",
    "strangers",
    "outage",
):
    import_module(f"tests.conformance.rules.{_group}")
