"""The verbs that measure: experiment, ladder, compare, reproduce. They are one thing with other searches."""

from dataclasses import replace
from pathlib import Path

import anyio
import typer

from experiment import options
from experiment.ask import (
    Ask,
    Config,
    ConfigError,
    ask_to_reproduce,
    asked,
    load_config,
    names,
    numbers,
    one,
    shapes,
    words,
)
from experiment.cli.exits import ALL_INVALID, CRASH, Stop
from experiment.cli.plans import announce_time, show_plan
from experiment.report import compare as compare_runs
from experiment.report import show_comparison, show_run
from experiment.run import Display, make_campaign, run_campaign
from experiment.store import read_run, run_paths


def experiment(
    context: typer.Context,
    variant: options.Variant = None,
    shape: options.Shape = None,
    timing: options.Timing = None,
    sessions: options.Sessions = None,
    target: options.Target = None,
    start: options.Start = None,
    harness: options.Harness = None,
    receive: options.Receive = None,
    infer_port: options.InferPort = None,
    pythons: options.Pythons = None,
    with_: options.With = None,
    keep_env: options.KeepEnv = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """How many live audio sessions does a gateway hold? Climbs a short ladder of sessions against a fixed SLO."""
    if context.invoked_subcommand is not None:
        return
    ask = Ask(
        "experiment",
        one(variant),
        one(shape),
        timing,
        numbers(sessions),
        target=target,
        start=start,
        harness=harness,
        receive=receive,
        infer_port=infer_port,
        pythons=names(pythons),
        overlay=words(with_),
        keep_env=names(keep_env),
    )
    _carry_out(load_config(), ask, results, resume, dry_run=dry_run)


def ladder(
    variant: options.Variant = None,
    shape: options.Shape = None,
    timing: options.Timing = None,
    target: options.Target = None,
    start: options.Start = None,
    harness: options.Harness = None,
    receive: options.Receive = None,
    infer_port: options.InferPort = None,
    pythons: options.Pythons = None,
    with_: options.With = None,
    keep_env: options.KeepEnv = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """Find the ceiling: confirmed ↔ borderline ↔ first solid fail."""
    ask = Ask(
        "ladder",
        one(variant),
        one(shape),
        timing,
        target=target,
        start=start,
        harness=harness,
        receive=receive,
        infer_port=infer_port,
        pythons=names(pythons),
        overlay=words(with_),
        keep_env=names(keep_env),
    )
    _carry_out(load_config(), ask, results, resume, dry_run=dry_run)


def compare(
    variants: options.Variants = None,
    shape: options.Shape = None,
    timing: options.Timing = None,
    sessions: options.Sessions = None,
    rounds: options.Rounds = None,
    ladder: options.Ladder = None,
    aa: options.AA = False,
    start: options.Start = None,
    harness: options.Harness = None,
    receive: options.Receive = None,
    runs: options.Runs = None,
    pythons: options.Pythons = None,
    with_: options.With = None,
    keep_env: options.KeepEnv = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """Rows side by side, their points interleaved in time; or stored runs (RUNS)."""
    if runs is not None:
        stored = [read_run(path) for path in run_paths(runs)]
        show_comparison(f"{len(stored)} stored runs, timing {stored[0].timing}", compare_runs(stored))
        return
    config = load_config()
    if variants is None and resume is None:
        known = ", ".join([*config.variants, *config.foreign])
        raise ConfigError(f"VARIANTS: expected rows to compare, such as gil,mt; known: {known}")
    ask = Ask(
        "compare",
        names(variants),
        names(shape),
        timing,
        numbers(sessions),
        rounds=rounds,
        ladder=ladder,
        aa=aa or None,
        start=start,
        harness=harness,
        receive=receive,
        pythons=names(pythons),
        overlay=words(with_),
        keep_env=names(keep_env),
    )
    _carry_out(config, ask, results, resume, dry_run=dry_run)


def reproduce(
    timing: options.Timing = None,
    keep_env: options.KeepEnv = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """The public benchmark's Python rows beside ours, in its shapes, with their ratios."""
    config = load_config()
    wanted, said = shapes(config)
    if said:
        print(said)
    ask = replace(ask_to_reproduce(config, timing, wanted), keep_env=names(keep_env))
    _carry_out(config, ask, results, resume, dry_run=dry_run)


def _carry_out(config: Config, ask: Ask, results: Path, resume: Path | None, *, dry_run: bool) -> None:
    """Run a campaign, new or taken up again, and show what came of it."""
    if resume is not None:
        ask, results = asked(resume), resume.parent
    campaign = make_campaign(config, ask, results)
    if dry_run:
        show_plan(campaign, None if resume is None else read_run(resume))
        return
    with Display() as display:
        display.note(f"{campaign.name}: {announce_time(campaign)}")
        for row in campaign.rows:
            plan = row.plan
            about = plan.variant.about if plan and plan.variant else row.refused or f"external gateway at {ask.target}"
            receive = f" · receive = {plan.shape.receive}" if plan and plan.shape else ""
            display.note(f"  {row.label} · {row.shape}{receive} · {about}")
            if plan and plan.not_steered:
                display.note(f"  {row.label}: {plan.why_sender}")
        folder = anyio.run(run_campaign, campaign, display, resume)
    run = read_run(folder)
    show_run(run, folder)
    statuses = [point.status for row in run.rows for point in row.points]
    if not statuses:
        reasons = "; ".join(f"{row.name}: {row.refused}" for row in run.rows)
        raise Stop(CRASH, f"no row could run: {reasons}; see {folder}")
    if all(status == "INVALID" for status in statuses):
        raise Stop(ALL_INVALID, f"every point was INVALID: the harness fell behind; see {folder}")
    print(f"RESULT {folder}")
