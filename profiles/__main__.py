"""`python -m profiles`: the command line of what looks on from outside. Options in, files and exit status out."""

import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer

from experiment.campaign import Ask, make_campaign
from experiment.config import load_config
from experiment.host import ShapeRefused
from experiment.probe import ProbeError
from experiment.progress import Display
from experiment.setup import SetupError, ensure
from experiment.setup.handover import run_in_foreground
from experiment.store import write_json
from experiment.tables import ConfigError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
REPRODUCER = Path(__file__).with_name("reproducer") / "lost_wakeup.py"


@app.command()
def profile(
    profiler: Annotated[str, typer.Option(help="py-spy, remote, memray, sched or forensics (PROFILER).")] = "remote",
    variant: Annotated[str | None, typer.Option(help="Row of experiments.toml (VARIANT).")] = None,
    shape: Annotated[str | None, typer.Option(help="What the gateway is given (SHAPE).")] = None,
    timing: Annotated[str | None, typer.Option(help="full, quick or smoke (TIMING).")] = None,
    sessions: Annotated[str | None, typer.Option(help="How many sessions (SESSIONS).")] = None,
    harness: Annotated[str | None, typer.Option(help="shared: the harness may share the gateway's cores.")] = None,
    results: Annotated[Path, typer.Option(help="Folder that runs are stored in (RESULTS).")] = Path("results"),
) -> None:
    """Profile a variant around the measured window of one point, and say how much that slowed it."""
    from profiles.session import run_profile

    config = load_config()
    defaults = config.defaults
    ask = Ask(
        "profile",
        (variant or defaults.variant,),
        (shape or defaults.shape,),
        timing or defaults.timing,
        sessions=sessions,
        harness=harness,
    )
    with Display() as display:
        folder = anyio.run(run_profile, make_campaign(config, ask, results), profiler, display)
    for file in sorted((folder.path / "profile").iterdir()):
        print(file)
    print(f"RESULT {folder.path}")


@app.command(context_settings={"ignore_unknown_options": True})
def reproduce(
    options: Annotated[list[str] | None, typer.Argument(help="Passed on to the reproducer.")] = None,
    environment: Annotated[str, typer.Option(help="granian-2.7.4, granian-2.8.0, …")] = "granian-2.7.4",
    interpreter: Annotated[str, typer.Option(help="3.14t or 3.14")] = "3.14t",
) -> None:
    """Run the minimal reproducer of the lost wake-up in one of the laboratory's environments; status 1: it stalled."""
    python = ensure(environment, interpreter, allow_stand_in=False).python
    raise typer.Exit(run_in_foreground([python, REPRODUCER, *(options or [])], "the reproducer"))


@app.command()
def forensics(
    pid: Annotated[list[int], typer.Option(help="A process of the gateway; may be repeated.")],
    port: Annotated[int, typer.Option(help="Where it listens.")],
    out: Annotated[Path | None, typer.Option(help="Write all the evidence here, as JSON.")] = None,
) -> None:
    """Why does a session stand still? Two looks at a gateway, and what they show."""
    from profiles.capture import capture

    evidence = capture(pid, port)
    if out is not None:
        write_json(out, evidence)
    for finding in evidence["findings"]:
        print(f"{finding['kind']}: {finding['what']}")
        for frame in finding["stack"]:
            print(f"    {frame}")
    if not evidence["findings"]:
        print("nothing wrong seen: every loop came by in time, and no task waits for what is done")


def main() -> int:
    """Run one command; a failure ends with `EXIT <status> <reason>` on standard output."""
    try:
        return int(app(standalone_mode=False) or 0)
    except (ConfigError, ShapeRefused) as error:
        status, reason = 2, str(error)
    except (ProbeError, SetupError, RuntimeError, LookupError) as error:
        status, reason = 1, str(error)
    except typer.Exit as ended:
        return ended.exit_code
    print(f"EXIT {status} {reason}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
