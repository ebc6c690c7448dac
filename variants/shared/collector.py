"""The factor `collector`: how Python's garbage collector is set in a process that serves. Called once it is ready."""

import gc

RAISED = 200_000
"""Tracked objects made, less those freed, before a collection: a hundred times CPython 3.14's own threshold."""


def set_collector(how: str | None) -> None:
    """Set it as the row asks: "off"; "raised", its threshold a hundred times higher; "frozen", what lives now left out
    of every collection; None, as it comes."""
    match how:
        case "off":
            gc.disable()
        case "raised":
            gc.set_threshold(RAISED, *gc.get_threshold()[1:])
        case "frozen":
            gc.collect()
            gc.freeze()
