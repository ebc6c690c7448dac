"""The command line of the laboratory: run an experiment, the conformance suite, the benchmarks, the doctor.

Exit status: 0 the experiment ran, whatever the verdict; 2 bad input; 3 every point was INVALID; 1 a crash or a gateway
that breaks the contract; 130 interrupted. The last line on standard output is `RESULT <folder>` or
`EXIT <status> <reason>`, since make turns every failure into 2.
"""

import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
import typer.exceptions

from experiment.config import CHECKOUT, load_config
from experiment.figure import latency_figure
from experiment.host import ShapeRefused
from experiment.plan import Plan, Request, make_plan
from experiment.probe import ProbeError
from experiment.progress import Display
from experiment.runner import Experiment, NotConforming, run_conformance, run_experiment
from experiment.setup import SetupError
from experiment.table import points_table, report_console
from experiment.tables import ConfigError

CRASH, BAD_INPUT, ALL_INVALID, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Stop(Exception):
    """Ends the process with a status and a reason of one line."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


VariantOption = Annotated[str | None, typer.Option(help="Row of experiments.toml (VARIANT).", show_default="gil")]
ShapeOption = Annotated[str | None, typer.Option(help="What the gateway is given (SHAPE).", show_default="cpuset-1")]
TimingOption = Annotated[str | None, typer.Option(help="full, quick or smoke (TIMING).", show_default="quick")]
SessionsOption = Annotated[
    str | None, typer.Option(help="One point or a list, 200,300 (SESSIONS).", show_default="the ladder chooses")
]
TargetOption = Annotated[
    str | None, typer.Option(help="ws://HOST:PORT of a gateway that already runs; the verdict is external (TARGET).")
]
HarnessOption = Annotated[
    str | None, typer.Option(help="shared: let the harness share the gateway's cores; gives no ceiling (HARNESS).")
]
InferPortOption = Annotated[
    int | None,
    typer.Option(
        help="Where a TARGET expects the inference server (INFER_PORT).", show_default="9000", min=1, max=65535
    ),
]
ResultsOption = Annotated[Path, typer.Option(help="Folder that the runs are stored in (RESULTS).")]


@app.callback(invoke_without_command=True)
def experiment(
    context: typer.Context,
    variant: VariantOption = None,
    shape: ShapeOption = None,
    timing: TimingOption = None,
    sessions: SessionsOption = None,
    target: TargetOption = None,
    harness: HarnessOption = None,
    infer_port: InferPortOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """How many live audio sessions does a gateway hold? Climbs a ladder of sessions against a fixed SLO."""
    if context.invoked_subcommand is not None:
        return
    request = Request(results, variant, shape, timing, sessions, target, harness, infer_port)
    plan = make_plan(load_config(), request)
    with Display() as display:
        display.note(_announce(plan))
        outcome = anyio.run(run_experiment, plan, display)
    _show(plan, outcome)
    picture = outcome.folder.path / "latency.svg"
    latency_figure(plan.name, outcome.points, plan.config.slo, picture)
    print(f"picture {picture}")
    if outcome.all_invalid:
        reason = f"every point was INVALID: the harness fell behind; see {outcome.folder.path}"
        raise Stop(ALL_INVALID, reason)
    print(f"RESULT {outcome.folder.path}")


@app.command()
def conformance(
    variant: VariantOption = None,
    target: TargetOption = None,
    infer_port: InferPortOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """The wire contract as a black box, one line per rule."""
    plan = make_plan(load_config(), Request(results, variant=variant, target=target, infer_port=infer_port))

    async def suite(plan: Plan, display: Display) -> dict[str, Any]:
        return await run_conformance(plan, display, print)

    with Display() as display:
        report = anyio.run(suite, plan, display)
    if report["failed"] or not report["passed"]:
        raise Stop(CRASH, f"{plan.variant_name}: {report['label']}, {report['failed']} rules failed")


@app.command()
def publish(run: Annotated[Path, typer.Argument(help="Folder of a finished run, results/<run>.")]) -> None:
    """Put a run's figures into the README, with its picture and compact evidence."""
    from experiment.publish import publish as write

    for path in write(run):
        print(path.relative_to(CHECKOUT))


@app.command()
def doctor() -> None:
    """What this machine has, what is missing, and how to mend it."""
    from experiment.doctor import examine

    if not examine(report_console()):
        raise Stop(CRASH, "something that an experiment needs is missing: see above")


@app.command()
def bench(
    only: Annotated[list[str] | None, typer.Option(help="core, loadgen or simulator; may be repeated.")] = None,
) -> None:
    """Costs of the core, the load generator and the simulator, each alone."""
    from experiment.bench import run_benchmarks

    run_benchmarks(tuple(only or ()), Display())


def _announce(plan: Plan) -> str:
    what = plan.variant.about if plan.variant else f"external gateway at {plan.target and plan.target.websocket_url}"
    return f"{plan.variant_name} · {plan.shape_name} · timing {plan.timing_name}: {what}"


def _show(plan: Plan, outcome: Experiment) -> None:
    console = report_console()
    gateway = f"gateway on CPython {outcome.interpreter}" if outcome.interpreter else "verdict external"
    shared = ", harness shares the gateway's cores: no ceiling" if plan.cpus and plan.cpus.shared else ""
    console.print(
        points_table(
            f"{plan.variant_name} · {plan.shape_name} · {plan.timing_name} · {gateway}{shared}", outcome.points
        )
    )
    if not shared:
        console.print(f"bracket so far ({plan.shape_name}, {plan.timing_name}, one run each): {outcome.bracket}")


def main(argv: list[str] | None = None) -> int:
    """Run one command; every failure ends with `EXIT <status> <reason>` on standard output."""
    # Also where the parent had SIGINT ignored, as shells do for background jobs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        # Typer turns Ctrl-C into the value 130 here; commands of ours return nothing.
        if app(argv, standalone_mode=False) == INTERRUPTED:
            return _exit(INTERRUPTED, "interrupted; everything was stopped, finished points are stored")
    except Stop as stop:
        return _exit(stop.status, str(stop))
    except (ConfigError, ShapeRefused) as error:
        return _exit(BAD_INPUT, str(error))
    except typer.exceptions.TyperException as error:
        return _exit(BAD_INPUT, error.format_message())
    except (NotConforming, ProbeError, SetupError) as error:
        return _exit(CRASH, str(error))
    except Exception as error:
        traceback.print_exc()
        return _exit(CRASH, f"{type(error).__name__}: {error}")
    return 0


def _exit(status: int, reason: str) -> int:
    first, *more = reason.splitlines() or [""]
    for line in more:
        print(line, file=sys.stderr)
    sys.stderr.flush()
    print(f"EXIT {status} {first}", flush=True)
    return status
