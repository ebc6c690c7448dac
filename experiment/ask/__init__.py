"""`experiments.toml` as typed tables, and what was asked for, resolved once into rows and points. Re-exports only."""

from experiment.ask.asked import Ask, asked, names, numbers, one, words
from experiment.ask.builds import Build, for_folder, interpreters, unique
from experiment.ask.config import load_config
from experiment.ask.plan import BEFORE_AND_AFTER_S, Address, Plan
from experiment.ask.reproduce import SHAPES, STAND_INS, ask_to_reproduce, shapes
from experiment.ask.resolve import Resolved, Row, resolve, resolve_one
from experiment.ask.schema import Config, ConfigError, Foreign, Harness, Ladder, Receive, Slo, Variant
from experiment.ask.studies import Bisect, Cell, Cliff, CliffPoint, Collector, Faults, Overload, Sharing, SharingHost
from experiment.ask.table import SERIES

__all__ = [
    "BEFORE_AND_AFTER_S",
    "SERIES",
    "SHAPES",
    "STAND_INS",
    "Address",
    "Ask",
    "Bisect",
    "Build",
    "Cell",
    "Cliff",
    "CliffPoint",
    "Collector",
    "Config",
    "ConfigError",
    "Faults",
    "Foreign",
    "Harness",
    "Ladder",
    "Overload",
    "Plan",
    "Receive",
    "Resolved",
    "Row",
    "Sharing",
    "SharingHost",
    "Slo",
    "Variant",
    "ask_to_reproduce",
    "asked",
    "for_folder",
    "interpreters",
    "load_config",
    "names",
    "numbers",
    "one",
    "resolve",
    "resolve_one",
    "shapes",
    "unique",
    "words",
]
