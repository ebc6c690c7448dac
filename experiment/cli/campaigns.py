"""The verbs that measure: experiment, ladder, compare, reproduce. They are one thing with other searches."""

from pathlib import Path

import anyio
import typer

from experiment.ask.config import load_config
from experiment.ask.schema import ConfigError
from experiment.cli import options
from experiment.cli.exits import ALL_INVALID, CRASH, Stop
from experiment.report import reproduce as public
from experiment.report.comparison import compare as compare_runs
from experiment.report.screens import announce_time, show_comparison, show_plan, show_run
from experiment.run.campaign import Ask, asked, make_campaign, names
from experiment.run.progress import Display
from experiment.run.runner import run_campaign
from experiment.store.runs import read_run, run_paths

CONFIRM = "confirm"
"""The ladder of experiments.toml that confirms its edge."""


def experiment(
    context: typer.Context,
    variant: options.Variant = None,
    shape: options.Shape = None,
    timing: options.Timing = None,
    sessions: options.Sessions = None,
    target: options.Target = None,
    harness: options.Harness = None,
    infer_port: options.InferPort = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """How many live audio sessions does a gateway hold? Climbs a short ladder of sessions against a fixed SLO."""
    if context.invoked_subcommand is not None:
        return
    defaults = load_config().defaults
    if target is not None and (variant or shape):
        _refuse_target(variant)
    ask = Ask(
        "experiment",
        (variant or defaults.variant,),
        (shape or defaults.shape,),
        timing or defaults.timing,
        sessions=sessions,
        ladder=None if sessions else defaults.ladder,
        target=target,
        harness=harness,
        infer_port=infer_port,
    )
    _carry_out(ask, results, resume, dry_run=dry_run)


def ladder(
    variant: options.Variant = None,
    shape: options.Shape = None,
    timing: options.Timing = None,
    target: options.Target = None,
    harness: options.Harness = None,
    infer_port: options.InferPort = None,
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """Find the ceiling: confirmed ↔ borderline ↔ first solid fail."""
    defaults = load_config().defaults
    if target is not None and (variant or shape):
        _refuse_target(variant)
    ask = Ask(
        "ladder",
        (variant or defaults.variant,),
        (shape or defaults.shape,),
        timing or defaults.timing,
        ladder=CONFIRM,
        target=target,
        harness=harness,
        infer_port=infer_port,
    )
    _carry_out(ask, results, resume, dry_run=dry_run)


def compare(
    variants: options.Variants = None,
    shape: options.Shape = None,
    timing: options.Timing = None,
    sessions: options.Sessions = "200",
    rounds: options.Rounds = 3,
    ladder: options.Ladder = CONFIRM,
    harness: options.Harness = None,
    runs: options.Runs = None,
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
        names(variants, config.defaults.variant),
        names(shape, config.defaults.shape),
        timing or config.defaults.timing,
        sessions=sessions,
        rounds=rounds,
        ladder=None if ladder == "no" else ladder,
        harness=harness,
    )
    _carry_out(ask, results, resume, dry_run=dry_run)


def reproduce(
    timing: options.Timing = "full",
    results: options.Results = options.RESULTS,
    resume: options.Resume = None,
    dry_run: options.DryRun = False,
) -> None:
    """The public benchmark's Python rows beside ours, in its shapes, with their ratios."""
    wanted, said = public.shapes(load_config())
    if said:
        print(said)
    _carry_out(public.ask(timing or "full", wanted), results, resume, dry_run=dry_run)


def _carry_out(ask: Ask, results: Path, resume: Path | None, *, dry_run: bool) -> None:
    """Run a campaign, new or taken up again, and show what came of it."""
    if resume is not None:
        ask, results = asked(resume), resume.parent
    campaign = make_campaign(load_config(), ask, results)
    if dry_run:
        show_plan(campaign, None if resume is None else read_run(resume))
        return
    with Display() as display:
        display.note(f"{campaign.name}: {announce_time(campaign)}")
        for row in campaign.rows:
            plan = row.plan
            about = plan.variant.about if plan and plan.variant else row.refused or f"external gateway at {ask.target}"
            display.note(f"  {row.label} · {row.shape} · {about}")
        folder = anyio.run(run_campaign, campaign, display, resume)
    run = read_run(folder)
    show_run(run, folder)
    statuses = [point["status"] for row in run.rows for point in row.points]
    if not statuses:
        reasons = "; ".join(f"{row.name}: {row.refused}" for row in run.rows)
        raise Stop(CRASH, f"no row could run: {reasons}; see {folder}")
    if all(status == "INVALID" for status in statuses):
        raise Stop(ALL_INVALID, f"every point was INVALID: the harness fell behind; see {folder}")
    print(f"RESULT {folder}")


def _refuse_target(variant: str | None) -> None:
    """What a plan says of a TARGET with a VARIANT or SHAPE; the plan itself would not see that they were given."""
    what = "VARIANT one to be started: give one of the two" if variant else "so SHAPE is not ours to give it"
    raise ConfigError(f"TARGET is a gateway that already runs, {what}")
