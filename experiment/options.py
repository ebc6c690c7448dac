"""The options of the command line, as typer has them: one name, one help text, wherever a verb takes it."""

from pathlib import Path
from typing import Annotated

import typer

Variant = Annotated[str | None, typer.Option(help="Row of experiments.toml (VARIANT).", show_default="gil")]
Variants = Annotated[str | None, typer.Option(help="Rows to compare, a,b,c; ratios are to the first (VARIANTS).")]
Shape = Annotated[str | None, typer.Option(help="What the gateway is given (SHAPE).", show_default="cpuset-1")]
Timing = Annotated[str | None, typer.Option(help="full, quick or smoke (TIMING).", show_default="quick")]
Sessions = Annotated[
    str | None,
    typer.Option(
        help="One point or a list, 200,300; for each thread, in a shape of threads (SESSIONS).",
        show_default="the ladder chooses",
    ),
]
Rounds = Annotated[
    int | None, typer.Option(help="How often each row's cost is measured (ROUNDS).", show_default="3", min=1)
]
AA = Annotated[bool, typer.Option("--aa", help="Run the first row twice: what a ratio of nothing comes out as (AA=1).")]
Ladder = Annotated[str | None, typer.Option(help="Ladder of experiments.toml, or no for none (LADDER).")]
Start = Annotated[
    int | None,
    typer.Option(help="The ladder's first rung (START).", show_default="a probe of a few seconds says it", min=1),
]
Target = Annotated[
    str | None, typer.Option(help="ws://HOST:PORT of a gateway that already runs; the verdict is external (TARGET).")
]
Harness = Annotated[
    str | None, typer.Option(help="shared: let the harness share the gateway's cores; gives no ceiling (HARNESS).")
]
Receive = Annotated[
    str | None,
    typer.Option(help="sender or gateway: whose CPUs do the work of receiving (RECEIVE).", show_default="the shape's"),
]
InferPort = Annotated[
    int | None,
    typer.Option(
        help="Where a TARGET expects the inference server (INFER_PORT).", show_default="9000", min=1, max=65535
    ),
]
KeepEnv = Annotated[
    str | None, typer.Option(help="Environment variables that every process gets all the same (KEEP_ENV).")
]
Pythons = Annotated[
    str | None,
    typer.Option(
        help="Interpreters that every row runs on: 3.14t,3.15t,/a/bin/python (PYTHONS).", show_default="the row's own"
    ),
]
With = Annotated[
    str | None,
    typer.Option("--with", help="Wheels, requirements or source folders over every row's packages (WITH)."),
]
Results = Annotated[Path, typer.Option(help="Folder that the runs are stored in (RESULTS).")]
Resume = Annotated[
    Path | None, typer.Option(help="Folder of an interrupted run: its finished points are kept (RESUME).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and how long it takes (DRY_RUN=1).")]
Run = Annotated[Path | None, typer.Option(help="Folder of a run, or its evidence file (RUN).")]
Runs = Annotated[str | None, typer.Option(help="Stored runs to compare, results/a,results/b (RUNS).")]
Prune = Annotated[
    float | None, typer.Option("--prune", help="Remove runs begun more than so many days ago (PRUNE).", min=0)
]
RESULTS = Path("results")
