"""Command line: judge a running gateway by the wire contract, one line per rule."""

import json
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.text import Text

from tests.conformance.inference import CannotServe
from tests.conformance.rule import Outcome
from tests.conformance.suite import BadInput, run_suite
from tests.conformance.verdict import as_json, counts, exit_status, label, saw_nothing

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)

_STYLES = {"PASS": "green", "FAIL": "bold red", "SKIP": "yellow"}


def _line(outcome: Outcome) -> Text:
    rule = outcome.rule
    strict = " [strict]" if rule.strict else ""
    # What a failure needs is the rule in words; a pass needs only its facts.
    reason = f"{rule.title}: {outcome.reason}" if outcome.result == "FAIL" else outcome.reason or rule.title
    one_line = " ".join(reason.split())
    return Text.assemble((outcome.result, _STYLES[outcome.result]), f" {rule.id + strict:<30} {one_line}")


@app.command()
def main(
    target: Annotated[str, typer.Option(help="ws://HOST:PORT of the gateway to judge")],
    infer_port: Annotated[
        int, typer.Option(min=1, max=65535, help="where inference is served, for the gateway to point at")
    ] = 9000,
    infer_pid: Annotated[
        int | None, typer.Option(help="the inference server's process, where one runs there already (with --control)")
    ] = None,
    pid: Annotated[int | None, typer.Option(help="the gateway's process, for rules that look into it")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the outcomes here")] = None,
    only: Annotated[str | None, typer.Option(help="ids of rules, separated by commas")] = None,
    public: Annotated[bool, typer.Option("--public", help="leave out the strict rules")] = False,
) -> None:
    """The wire contract as a black box. Exit status: 0 conforms; 1 a rule failed, or nothing was seen; 2 bad input."""
    out, err = (Console(highlight=False, soft_wrap=True, stderr=stderr) for stderr in (False, True))
    chosen = None if only is None else [id.strip() for id in only.split(",") if id.strip()]

    async def run() -> list[Outcome]:
        return await run_suite(
            target,
            infer_port,
            pid,
            chosen,
            public=public,
            infer_pid=infer_pid,
            report=lambda outcome: out.print(_line(outcome)),
        )

    try:
        outcomes = anyio.run(run)
    except (BadInput, CannotServe) as error:
        err.print(f"conformance: {error}", markup=False)
        raise typer.Exit(2) from None
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(target, infer_port, outcomes), indent=2) + "\n")
    if saw_nothing(outcomes):
        out.print(f"nothing could be seen of what needs inference: is the gateway pointed at port {infer_port}?")
    tally = counts(outcomes)
    out.print(label(outcomes))
    out.print(f"{tally['passed']} passed, {tally['failed']} failed, {tally['skipped']} skipped")
    raise typer.Exit(exit_status(outcomes))


if __name__ == "__main__":
    app()
