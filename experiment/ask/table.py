"""What every table of experiments.toml is made of: strict, frozen models and two kinds of number. Pure."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

Series = Literal["3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t", "3.16", "3.16t"]
"""Of CPython; "t": its free-threaded build."""
SERIES: tuple[str, ...] = get_args(Series)


class Table(BaseModel):
    """One table: an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
