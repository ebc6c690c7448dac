"""Set-up that nobody has to think about: interpreters, uv and locked virtual environments.

Runs before anything is installed, so it needs only a CPython ≥ 3.11 and its standard library.
"""

from experiment.setup.environments import Environment, ensure
from experiment.setup.facts import OWN_SERIES, Interpreter, describe
from experiment.setup.failures import Attempt, NotOnInterpreter, SetupError
from experiment.setup.handover import run_in_foreground
from experiment.setup.interpreters import at as python_at
from experiment.setup.interpreters import is_path
from experiment.setup.json_files import read_json, write_json
from experiment.setup.overlay import items as overlay_items
from experiment.setup.overlay import label as overlay_label
from experiment.setup.places import CHECKOUT
from experiment.setup.survey import Finding, interpreters_here, survey
from experiment.setup.versions import published

__all__ = [
    "CHECKOUT",
    "OWN_SERIES",
    "Attempt",
    "Environment",
    "Finding",
    "Interpreter",
    "NotOnInterpreter",
    "SetupError",
    "describe",
    "ensure",
    "interpreters_here",
    "is_path",
    "overlay_items",
    "overlay_label",
    "published",
    "python_at",
    "read_json",
    "run_in_foreground",
    "survey",
    "write_json",
]
