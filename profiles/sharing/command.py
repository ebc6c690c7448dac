"""The verbs sharing and publish-sharing of `python -m profiles`: options in, a run's folder or a page out."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from experiment import options
from experiment.ask import load_config, names, words
from experiment.report import lines_table, report_console
from experiment.run import Display
from experiment.setup import CHECKOUT, read_json
from profiles.sharing.evidence import keep
from profiles.sharing.run import EVIDENCE, announce, chosen, run_sharing
from profiles.sharing.tables import HEADINGS, OBJECT_HEADINGS, WAIT_HEADINGS, lines, object_lines, wait_lines


def sharing(
    sets: Annotated[str | None, typer.Option(help="Some of its hosts: threads,drain-threads (SETS).")] = None,
    pythons: options.Pythons = None,
    before: Annotated[str | None, typer.Option(help="A commit whose hosts run beside this one's (BEFORE).")] = None,
    with_: options.With = None,
    results: options.Results = options.RESULTS,
    dry_run: options.DryRun = False,
) -> None:
    """What do threads of one process share? Loops side by side, as threads and as processes, on two CPUs."""
    wanted, on = chosen(load_config(), names(sets) or ()), names(pythons) or ()
    if dry_run:
        print(announce(wanted, max(1, len(on)), before, overlaid=with_ is not None))
        return
    with Display() as display:
        folder = anyio.run(run_sharing, load_config(), wanted, on, results, display, before, words(with_))
    evidence = read_json(folder.path / EVIDENCE)
    assert evidence is not None
    report_console().print(lines_table("loops side by side", HEADINGS, lines(evidence)))
    if objects := object_lines(evidence):
        report_console().print(lines_table("what both threads count", OBJECT_HEADINGS, objects))
    report_console().print(lines_table("what loops wait for", WAIT_HEADINGS, wait_lines(evidence)))
    print(f"RESULT {folder.path}")
    if any(run["refused"] or any(turn["failed"] for turn in run["turns"]) for run in evidence["runs"]):
        raise typer.Exit(1)


def publish_sharing(
    turns: Annotated[Path | None, typer.Option(help="Folder of a finished `make sharing`.")] = None,
    touched: Annotated[Path | None, typer.Option(help="The same, on a CPython that counts; see the page.")] = None,
    proposed: Annotated[Path | None, typer.Option(help="The same, WITH a change of a package.")] = None,
    profile: Annotated[list[Path] | None, typer.Option(help="Folders of `make profile PROFILER=sched`.")] = None,
) -> None:
    """Keep the evidence of `make sharing`; write docs/findings/two-cores.md and its picture."""
    from profiles.sharing.publish import publish

    for path in (*keep(turns, touched, proposed, profile or []), *publish()):
        print(path.relative_to(CHECKOUT))
