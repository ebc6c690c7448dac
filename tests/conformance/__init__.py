"""The wire contract as a black box: one suite over any gateway. `python -m tests.conformance --help`."""

from tests.conformance.rule import Outcome
from tests.conformance.suite import run_suite

__all__ = ["Outcome", "run_suite"]
