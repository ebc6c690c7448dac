"""The verb bisect of `python -m profiles`: options in, a run's folder and its page out."""

from typing import Annotated

import anyio
import typer

from experiment import options
from experiment.ask import load_config, names
from experiment.report import lines_table, report_console
from experiment.run import Display
from experiment.setup import read_json, write_json
from profiles.bisect.page import HEADINGS, answer, command, lines, page, took
from profiles.bisect.question import Asked, pose
from profiles.bisect.run import EVIDENCE, cost_plan, run_bisect


def bisect(
    package: Annotated[str | None, typer.Option(help="Whose releases are halved (PACKAGE).")] = None,
    oldest: Annotated[str | None, typer.Option("--from", help="The oldest of them (FROM).")] = None,
    newest: Annotated[str | None, typer.Option("--to", help="The newest of them (TO).")] = None,
    cell: Annotated[str | None, typer.Option(help="Cell of [cliff.cells] that stalls or does not (CELL).")] = None,
    cost: Annotated[
        float | None, typer.Option(help="Instead of stalls: the ratio of costs to tell from 1, as 1.05 (COST).")
    ] = None,
    variant: options.Variant = None,
    pythons: options.Pythons = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """Which release of a package (or which of several interpreters, in order) changed it: stalls, or a cost?"""
    config = load_config()
    if resume is not None:
        asked, results = Asked.of(read_json(resume / EVIDENCE) or {}), resume.parent
    else:
        asked = Asked(package, oldest, newest, names(pythons), cell, cost, variant)
    with Display() as display:
        question = pose(config, asked, display.note)
        point_s = 0.0 if question.cost is None else cost_plan(config, question, question.candidates[0]).point_s
        display.note(question.announce(point_s))
        if dry_run:
            return
        folder = anyio.run(run_bisect, config, question, results, display, resume)
    evidence = read_json(folder.path / EVIDENCE)
    assert evidence is not None
    again = command(evidence["asked"])
    said = {"answer": answer(evidence), "command": again, "took": took(evidence)}
    write_json(folder.path / EVIDENCE, {**evidence, **said})
    (folder.path / "bisect.md").write_text(page(evidence, again), encoding="utf-8")
    report_console().print(lines_table(answer(evidence), HEADINGS, lines(evidence)))
    print(folder.path / "bisect.md")
    print(f"RESULT {folder.path}")
    if evidence["change"] is None:
        raise typer.Exit(1)
