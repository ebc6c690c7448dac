"""What rows run on in place of what their tables name: interpreters (PYTHONS), packages laid over (WITH, a row's +).

Labels say what a build is, not where it lies.
"""

import itertools
import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from experiment.ask.schema import ConfigError
from experiment.ask.table import SERIES
from experiment.setup import CHECKOUT, SetupError, is_path, overlay_items, overlay_label, python_at

_NOT_IN_NAMES = re.compile(r"[^\w.+=@-]+")


@dataclass(frozen=True, slots=True)
class Build:
    """Interpreter and packages of a row, where somebody named others than its table."""

    python: str | None = None
    """A series or an absolute path; None: the row's own series."""
    series: str | None = None
    """What it is of: "3.15t"."""
    label: str | None = None
    """What it is: "3.15t", or of a path "3.16.0a2+t main@1a2b3c4 jit"."""
    overlay: tuple[str, ...] = ()
    """As `experiment.setup.overlay_items` gives it."""

    def facts(self) -> dict[str, object]:
        """For a manifest: without places, empty where nothing was named."""
        python = {} if self.label is None else {"python": self.label}
        return python | ({"with": [overlay_label(item) for item in self.overlay]} if self.overlay else {})


OWN = Build()


def interpreters(texts: Sequence[str] | None) -> list[Build]:
    """Of PYTHONS: series as experiments.toml names them, or paths. A single one of nothing without.

    Raises:
        ConfigError: neither, or no CPython that rows run on.
    """
    return [_interpreter(text) for text in texts or ()] or [OWN]


def _interpreter(text: str) -> Build:
    if not is_path(text):
        if text not in SERIES:
            raise ConfigError(
                f"PYTHONS: expected some of {', '.join(SERIES)}, or paths such as /opt/python/bin/python3, got {text!r}"
            )
        return Build(text, text, text)
    try:
        found = python_at(text)
    except SetupError as error:
        raise ConfigError(f"PYTHONS: {error.reason}") from None
    if found.series not in SERIES:
        raise ConfigError(f"PYTHONS: expected one of {', '.join(SERIES)}, {text} is {found.tag}")
    return Build(found.executable, found.series, found.label)


def laid_over(items: Sequence[str], option: str) -> tuple[str, ...]:
    """Of WITH, or of what follows a row's name: paths are from the checkout on. Raises ConfigError."""
    try:
        return overlay_items(items, CHECKOUT)
    except SetupError as error:
        raise ConfigError(f"{option}: {error.reason}") from None


def row_and_overlay(text: str) -> tuple[str, tuple[str, ...]]:
    """Of a row as VARIANTS names it: "mt+dist/x.whl" is row mt with that laid over. Raises ConfigError."""
    name, *own = text.split("+")
    return name, laid_over(own, f"VARIANTS, {text}")


def label_of(variant: str, own: Sequence[str], build: Build) -> str:
    """A row's name with what makes it another row, fit for a folder: "mt+granian-2.9.0@3.15t"."""
    over = "".join(f"+{overlay_label(item).rstrip('/')}" for item in own)
    python = "" if build.label is None else f"@{build.label}"
    return for_folder(f"{variant}{over}{python}")


def for_folder(label: str) -> str:
    """The label without blanks, slashes and the like."""
    return _NOT_IN_NAMES.sub("-", label)


def unique(label: str, taken: Container[str]) -> str:
    """The label, with a number where one before has it."""
    numbered = (f"{label}-{number}" if number > 1 else label for number in itertools.count(1))
    return next(each for each in numbered if each not in taken)
