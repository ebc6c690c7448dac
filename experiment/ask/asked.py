"""What a person asked for, as given; None where nothing was. Read from text and from manifests, looked up elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiment.ask.schema import ConfigError
from experiment.setup import read_json

NO_LADDER = "no"


@dataclass(frozen=True, slots=True)
class Ask:
    """The one value that holds it: kept in the manifest, so that an interrupted run can be taken up again."""

    verb: str
    variants: tuple[str, ...] | None = None
    shapes: tuple[str, ...] | None = None
    timing: str | None = None
    sessions: tuple[int, ...] | None = None
    """The points; for each thread, in a shape of threads."""
    rounds: int | None = None
    """How often each of them is measured."""
    ladder: str | None = None
    """The ladder's name, or "no" for the listed points alone."""
    start: int | None = None
    """The ladder's first rung, instead of what a probe finds."""
    target: str | None = None
    """The URL of a gateway that somebody else started."""
    aa: bool | None = None
    """Whether the first row is run twice, so that a difference of nothing is seen."""
    harness: str | None = None
    receive: str | None = None
    """Instead of the shape's: "sender" or "gateway"."""
    infer_port: int | None = None
    pythons: tuple[str, ...] | None = None
    """Interpreters that every row is to run on, instead of its own: series, or paths."""
    overlay: tuple[str, ...] | None = None
    """Packages that are laid over every row's: requirements, wheels, source folders."""
    keep_env: tuple[str, ...] | None = None
    """Variables of the user's environment that every role gets beside the usual ones."""

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Ask":
        """From a manifest."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()
        }
        return cls(**{key: value for key, value in values.items() if key in known})


def names(text: str | None) -> tuple[str, ...] | None:
    """A list as typed: "gil,mt" or "gil mt"; None for nothing."""
    return tuple((text or "").replace(",", " ").split()) or None


def words(text: str | None) -> tuple[str, ...] | None:
    """Requirements and paths as typed, with blanks between: a requirement may have commas; None for nothing."""
    return tuple((text or "").split()) or None


def one(name: str | None) -> tuple[str, ...] | None:
    """Of a verb that takes a single name; None for nothing."""
    return (name,) if name else None


def numbers(text: str | None) -> tuple[int, ...] | None:
    """Points as typed: "300", "200,300,400" or "200 300"; None for nothing.

    Raises:
        ConfigError: something else, or a number under 1.
    """
    if not text:
        return None
    try:
        found = tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise ConfigError(f"SESSIONS: expected one number or a list such as 200,300,400, got {text!r}")
    return found


def asked(folder: Path) -> Ask:
    """What a stored run was asked for. Raises ConfigError where it is no run's folder."""
    manifest = read_json(folder / "manifest.json")
    if manifest is None or "ask" not in manifest:
        raise ConfigError(f"RESUME: expected the folder of an interrupted run, results/<run>, got {folder}")
    return Ask.of(manifest["ask"])
