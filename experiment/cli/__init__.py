"""Verbs, options, exit lines: nothing is measured or computed here. Re-exports only."""

from experiment.cli.app import main

__all__ = ["main"]
