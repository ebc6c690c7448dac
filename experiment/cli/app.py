"""The command line of the laboratory: campaigns of points, stored runs, the conformance suite, benchmarks, the doctor.

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

from experiment import options
from experiment.ask import Ask, ConfigError, Plan, load_config, names, one, resolve_one, words
from experiment.cli import campaigns
from experiment.cli.exits import BAD_INPUT, CRASH, INTERRUPTED, Stop
from experiment.host import ShapeRefused
from experiment.report import lines_table, report_console, show_bench, show_run
from experiment.run import Display, NotConforming, ProbeError, run_conformance
from experiment.setup import CHECKOUT, SetupError
from experiment.store import RUN_HEADINGS, prunable, prune, read_run, run_lines
from experiment.store import runs as read_runs

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.callback(invoke_without_command=True)(campaigns.experiment)
for verb in (campaigns.ladder, campaigns.compare, campaigns.reproduce):
    app.command()(verb)


@app.command("results")
def stored_runs(
    run: options.Run = None, older_than: options.Prune = None, results: options.Results = options.RESULTS
) -> None:
    """List the stored runs; RUN: make its table and picture again; PRUNE: remove old ones."""
    if run is not None:
        found = read_run(run)
        folder = run if run.is_dir() else run.parent
        show_run(found, folder)
        print((folder / "capacity.md").read_text(encoding="utf-8"))
    elif older_than is not None:
        folders = prunable(results, older_than)
        for folder in folders:
            print(f"remove {folder}")
        if folders and sys.stdin.isatty() and not typer.confirm(f"remove these {len(folders)} runs for good?"):
            raise Stop(BAD_INPUT, "nothing was removed")
        prune(folders)
        print(f"{len(folders)} runs begun more than {older_than:g} days ago were removed")
    else:
        report_console().print(lines_table(f"runs in {results}", RUN_HEADINGS, run_lines(read_runs(results))))


@app.command()
def conformance(
    variant: options.Variant = None,
    target: options.Target = None,
    infer_port: options.InferPort = None,
    pythons: options.Pythons = None,
    with_: options.With = None,
    keep_env: options.KeepEnv = None,
    results: options.Results = options.RESULTS,
) -> None:
    """The wire contract as a black box, one line per rule."""
    ask = Ask(
        "conformance",
        one(variant),
        target=target,
        infer_port=infer_port,
        pythons=names(pythons),
        overlay=words(with_),
        keep_env=names(keep_env),
    )
    plan = resolve_one(load_config(), ask)

    async def suite(plan: Plan, display: Display) -> dict[str, Any]:
        return await run_conformance(plan, results, display, print, ask.keep_env or ())

    with Display() as display:
        report = anyio.run(suite, plan, display)
    if report["failed"] or not report["passed"]:
        raise Stop(CRASH, f"{plan.name}: {report['label']}, {report['failed']} rules failed")


@app.command()
def publish(
    run: Annotated[list[Path], typer.Argument(help="Folder of a finished run, or its evidence; several: repeats.")],
    name: Annotated[str | None, typer.Option(help="Name of the files that are written.")] = None,
) -> None:
    """Put a run's figures into docs/findings/, with its compact evidence."""
    from experiment.report import publish as write
    from experiment.report import publish_repeats

    written = publish_repeats(run, name=name) if len(run) > 1 else write(run[0], name=name)
    for path in written:
        print(path.relative_to(CHECKOUT))


@app.command("publish-draining")
def publish_draining(
    run: Annotated[
        list[Path] | None, typer.Argument(help="Folders of comparisons; without: those that are kept.")
    ] = None,
    bench: Annotated[Path | None, typer.Option(help="Folder of a `make bench`; without: what is kept.")] = None,
    before: Annotated[
        list[Path] | None, typer.Option(help="Folders of `make bench BEFORE=…`; without: those that are kept.")
    ] = None,
) -> None:
    """Write docs/findings/draining.md from comparisons and a bench, and keep their evidence."""
    from experiment.report import publish_draining as write

    for path in write(run or [], bench, before or []):
        print(path.relative_to(CHECKOUT))


@app.command("publish-foreign")
def publish_foreign(
    run: Annotated[
        list[Path] | None, typer.Argument(help="Folders of comparisons with foreign rows; without: those kept.")
    ] = None,
) -> None:
    """Write docs/findings/other-languages.md from comparisons with foreign rows, and keep their evidence."""
    from experiment.report import publish_foreign as write

    for path in write(run or []):
        print(path.relative_to(CHECKOUT))


@app.command("publish-builds")
def publish_builds(
    run: Annotated[
        list[Path] | None, typer.Argument(help="Folders of comparisons on several interpreters; without: those kept.")
    ] = None,
    bisect: Annotated[list[Path] | None, typer.Option(help="Folders of `make bisect`; without: those kept.")] = None,
    about: Annotated[str | None, typer.Option(help="What the builds of these bisections are, for the page.")] = None,
) -> None:
    """Write docs/findings/builds.md from comparisons of builds and bisections, and keep their evidence."""
    from experiment.report import publish_builds as write

    for path in write(run or [], bisect or [], about=about):
        print(path.relative_to(CHECKOUT))


@app.command("publish-memory")
def publish_memory(
    profile: Annotated[
        list[Path] | None, typer.Option(help="Folders of memray's profiles; without: those kept.")
    ] = None,
) -> None:
    """Write docs/findings/memory.md from the ladders that are kept, and keep memray's profiles."""
    from experiment.report import publish_memory as write

    for path in write(profile or []):
        print(path.relative_to(CHECKOUT))


@app.command("publish-front")
def publish_front() -> None:
    """Write the README's picture and findings, and docs/README.md, from the evidence that is kept."""
    from experiment.report import publish_front as write

    for path in write():
        print(path.relative_to(CHECKOUT))


@app.command()
def notebooks(run: options.Run = None, results: options.Results = options.RESULTS) -> None:
    """Execute every notebook, without a browser; the executed copies lie in RESULTS/notebooks/."""
    from experiment.cli.notebooks import execute_all

    for path in execute_all(results / "notebooks", run):
        print(f"executed {path}")


@app.command()
def doctor() -> None:
    """What this machine has, what is missing, and how to mend it."""
    from experiment.cli.doctor import examine

    if not examine(report_console()):
        raise Stop(CRASH, "something that an experiment needs is missing: see above")


@app.command()
def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(help="core, draining, reactions, harness, loadgen or simulator; may be repeated."),
    ] = None,
    instructions: Annotated[
        bool, typer.Option("--instructions", help="Count instructions under valgrind instead (INSTRUCTIONS=1).")
    ] = False,
    before: Annotated[
        str | None, typer.Option(help="A commit whose draining loop runs beside this one's, and nothing else (BEFORE).")
    ] = None,
) -> None:
    """Costs of core, draining loop, load generator and simulator, each alone; reactions of rows; the harness's end."""
    from experiment.bench.suite import run_before, run_benchmarks, run_instructions

    if before is not None:
        folder = run_before(before, Display())
    else:
        folder = run_instructions(Display()) if instructions else run_benchmarks(tuple(only or ()), Display())
    show_bench(folder)
    print(f"RESULT {folder}")


@app.command("keep-instructions")
def keep_instructions(bench: Annotated[Path, typer.Argument(help="Folder of a `make bench INSTRUCTIONS=1`.")]) -> None:
    """Keep its counts, for later ones to be compared with."""
    from experiment.report import keep_instructions as keep

    print(keep(bench).relative_to(CHECKOUT))


def main(argv: list[str] | None = None) -> int:
    """Run one command; every failure ends with `EXIT <status> <reason>` on standard output."""
    # Also where the parent had SIGINT ignored, as shells do for background jobs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        # Typer turns Ctrl-C into the value 130 here; commands of ours return nothing.
        if app(argv, standalone_mode=False) == INTERRUPTED:
            return _exit(
                INTERRUPTED, "interrupted; everything was stopped, finished points are stored: RESUME=<the run>"
            )
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
