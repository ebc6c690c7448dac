"""Interpreters for tests that need another build than the one they run on: what is here, never a build."""

import sys
from functools import cache
from pathlib import Path

import pytest

from experiment.setup import SetupError, ensure
from experiment.setup.facts import Request
from experiment.setup.places import Places
from experiment.setup.present import present

kernel_knows_thread_names = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython hands a thread's name to the kernel from 3.14 on"
)


@cache
def _is_here(tag: str, *, or_older: bool) -> bool:
    request = Request.parse(tag)
    return any(request.mismatch(facts, allow_older=or_older) is None for facts in present(Places()))


def python_of(environment: str, tag: str, *, or_older: bool = False) -> Path:
    """The environment's Python on that interpreter; skips the test, saying why, where it cannot be had at once."""
    if not _is_here(tag, or_older=or_older):
        pytest.skip(f"no CPython {tag}{' or older' if or_older else ''} on this machine")
    try:
        return ensure(environment, tag, allow_stand_in=or_older).python
    except SetupError as error:
        pytest.skip(error.reason)
