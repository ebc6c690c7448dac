"""Reads `experiments.toml`, and nothing else does. It starts and measures nothing."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from experiment.ask.schema import Config, ConfigError
from experiment.setup import CHECKOUT

EXPERIMENTS = CHECKOUT / "experiments.toml"


def load_config(path: Path = EXPERIMENTS) -> Config:
    """Read and check the file.

    Raises:
        ConfigError: not there, not TOML, or a table or key that is unknown, missing or out of range; each is named.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path.name}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not TOML: {error}") from None
    try:
        return Config.model_validate(tables)
    except ValidationError as error:
        faults = [_explain(path.name, fault) for fault in error.errors()]
        raise ConfigError("\n".join(faults)) from None


def _explain(file: str, fault: Mapping[str, Any]) -> str:
    location = [str(part) for part in fault["loc"]]
    table, key = ".".join(location[:-1]), location[-1] if location else "?"
    where = f"{file}: key {key!r} in table [{table}]" if table else f"{file}: table [{key}]"
    match fault["type"]:
        case "extra_forbidden":
            return f"{where} is unknown; remove it or correct its spelling"
        case "missing":
            return f"{where} is missing"
        case _:
            return f"{where}: {fault['msg']}, got {fault['input']!r}"
