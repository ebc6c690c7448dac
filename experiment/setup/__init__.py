"""Set-up that nobody has to think about: interpreters, uv and locked virtual environments.

Runs before anything is installed, so it needs only a CPython ≥ 3.11 and its standard library.
"""

from experiment.setup.environments import Environment, ensure
from experiment.setup.facts import OWN_SERIES, Interpreter, describe
from experiment.setup.failures import Attempt, NotOnInterpreter, SetupError
from experiment.setup.handover import run_in_foreground
from experiment.setup.json_files import read_json, write_json
from experiment.setup.places import CHECKOUT
from experiment.setup.survey import Finding, survey

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
    "read_json",
    "run_in_foreground",
    "survey",
    "write_json",
]
