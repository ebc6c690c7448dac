"""What every table of experiments.toml is made of: strict, frozen models and two kinds of number. Pure."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

Series = Literal["3.14", "3.14t", "3.15", "3.15t"]
"""Of CPython; "t": its free-threaded build."""


class Table(BaseModel):
    """One table: an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
