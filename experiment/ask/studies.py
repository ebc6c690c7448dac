"""The tables of the laboratory's own studies, each a verb of `profiles`: cliff, collector, faults, overload. Pure."""

from typing import Annotated, Literal

from pydantic import Field

from experiment.ask.table import Count, Positive, Series, Table

CellServer = Literal[
    "granian",
    "granian-rsgi",
    "uvicorn",
    "uvicorn-wsproto",
    "hypercorn",
    "aiohttp",
    "websockets",
    "websockets-sync",
    "picows",
]


class Cell(Table):
    """One server of the reproducer's application, on which build, and the factors that may matter."""

    about: str
    server: CellServer = "granian"
    """Whose API the application is written for: one for all ASGI servers, and a twin for each other."""
    environment: str
    interpreter: Series = "3.14t"
    runtime: Literal["st", "mt"] = "mt"
    loop: Literal["asyncio", "uvloop"] = "asyncio"
    cpus: Literal["all", "one", "quota"] = "all"
    """all: of the machine; one: pinned; quota: one vCPU of CFS time, over all."""
    spin_us: Annotated[float, Field(ge=0)] = 80
    """The amplifier: longest spin between calling `receive()` and awaiting it."""


class CliffPoint(Table):
    """One point of a whole gateway, with forensics."""

    variant: str
    timing: str


class Cliff(Table):
    """`make cliff`: cells in turn, then points. `make survey`: the same of other servers, without points."""

    reference: str
    clients: Count
    turns: Count
    turn_s: Positive
    fraction: Annotated[float, Field(gt=0, lt=1)]
    cells: Annotated[dict[str, Cell], Field(min_length=1)]
    shape: str | None = None
    sessions: Count | None = None
    """Both of the points."""
    points: list[CliffPoint] = Field(default_factory=list)

    def model_post_init(self, _: object) -> None:
        """The reference is one of the cells."""
        if self.reference not in self.cells:
            raise ValueError(f"reference: expected one of {', '.join(self.cells)}, got {self.reference!r}")
        if self.points and (self.shape is None or self.sessions is None):
            raise ValueError("points: expected shape and sessions beside them")


class Bisect(Table):
    """`make bisect`: which release, or interpreter, changed it; each candidate by a sequential test."""

    cell: str
    """Of [cliff.cells], where nobody names one."""
    clients: Count
    most_s: Positive
    """A candidate that is not decided by then gives no decision."""
    error: Annotated[float, Field(gt=0, lt=0.5)]
    """The probability of either wrong decision about stalls, for each candidate."""
    fraction: Annotated[float, Field(gt=0, lt=1)]
    """Sound: at most this share of the rate at which a Granian with the lost wake-up stalls."""
    shape: str
    timing: str
    sessions: Count
    """Of the points that a question of cost compares."""
    cost_error: Annotated[float, Field(gt=0, lt=0.5)]
    least_pairs: Count
    pairs: Count
    """At most, for each candidate."""
    least_spread: Positive
    """Of the logarithm of a paired cost ratio: it is not taken for less."""


class CollectorSet(Table):
    """Points of `make collector` that are compared with each other: its rows in turn, at each number of sessions."""

    about: str
    rows: Annotated[list[str], Field(min_length=1)]
    """A row that stands here twice is measured twice: its difference from itself is the least that means something."""
    pythons: list[str] = Field(default_factory=list)
    """What each row runs on, one after the other, as PYTHONS names it; its own interpreter without."""
    sessions: Annotated[list[Count], Field(min_length=1)]
    rounds: Count = 1
    shape: str | None = None
    """Another one than the table's; the harness may then share the gateway's cores."""
    slices_ms: list[Positive] = Field(default_factory=list)
    """Scheduler slices that the gateway's threads are given, one after the other; none leaves the kernel's."""
    look: Literal["collections", "census", "stacks", "py-spy"] = "collections"
    """What is looked at beside: the collections alone; after the window what is alive, whose, and what one more frees
    (which holds up the last answers); flame graphs, on CPU and by wall clock; py-spy's, on CPU."""


class Collector(Table):
    """`make collector`: the reproducer, then sets of points, one set after the other."""

    shape: str
    timing: str
    reproducer: bool = True
    """Whether it runs; not where sets are chosen and it is none of them."""
    pythons: list[str] = Field(default_factory=list)
    """Commands that the reproducer runs on beside the interpreters of the rows, where they are on PATH."""
    sets: Annotated[dict[str, CollectorSet], Field(min_length=1)]


class Faults(Table):
    """`make faults`: rows under load, and what is done beside it, one scenario after the other."""

    shape: str
    timing: str
    sessions: Count
    rows: Annotated[list[str], Field(min_length=1)]
    scenarios: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1)]
    """Each some rules of the conformance suite."""


class Overload(Table):
    """`make overload`: each row's ceiling, then more load than that, without a limit on sessions and with one."""

    timing: str
    ladder: str
    factor: Annotated[float, Field(gt=1)]
    """Load ÷ ceiling."""
    rounds: Count
    shapes: Annotated[dict[str, str], Field(min_length=1)]
    """By row."""


class SharingHost(Table):
    """A host whose loops `make sharing` puts side by side: `experiment.bench.side_by_side`."""

    row: str
    """Whose interpreter and packages it has."""
    program: Literal["core", "picows_loops", "drain", "granian"]
    loop: Literal["asyncio", "uvloop"] = "asyncio"
    transport: Literal["h1", "h2"] = "h1"
    sessions: Count
    """Of each loop; the core has none, and runs as fast as it goes."""
    steps: list[Literal["gateway", "client", "anyio"]]
    """What each thread gets its own copy of, one after the other."""
    shares_clock: bool = False
    """Whether one more shared object is put into each frame's path, too."""


class Sharing(Table):
    """`make sharing`: layouts in turn, a window each."""

    window_s: Positive
    rounds: Count
    hosts: Annotated[dict[str, SharingHost], Field(min_length=1)]
