"""Command line of set-up: make environments ready, and optionally hand over to one of them. Standard library only.

python -m experiment.setup harness gil --interpreter 3.14
python -m experiment.setup harness -- -m experiment --variant gil
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from experiment.setup.environments import ensure
from experiment.setup.failures import SetupError
from experiment.setup.handover import run_in_foreground
from experiment.setup.places import Places
from experiment.setup.survey import survey
from experiment.setup.tools import find_uv, index_options, run_uv

_COMPILE = "pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11"
_COMPILE_LIMIT_S = 300


def _report(line: str) -> None:
    print(f"setup: {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiment.setup",
        description="Make environments ready; prints `ENVIRONMENT PYTHON` for each, or runs what follows --.",
    )
    parser.add_argument(
        "environments", nargs="*", metavar="ENVIRONMENT", help="name of a file in requirements/, without .txt"
    )
    parser.add_argument("--interpreter", default="3.14", help='"3.14" (GIL), "3.14t" (free-threaded), or a path')
    parser.add_argument(
        "--no-stand-in", action="store_true", help="do not take an older CPython where the named one is not to be had"
    )
    parser.add_argument(
        "--survey", action="store_true", help="print what is here and what is missing, and set nothing up"
    )
    parser.add_argument("--survey-on-failure", action="store_true", help="print the survey where set-up fails")
    parser.add_argument("--lock", action="store_true", help="compile requirements/*.txt from pyproject.toml again")
    return parser


def _compile_locks(places: Places) -> None:
    uv = find_uv(places, _report)
    for path in sorted((places.checkout / "requirements").glob("*.txt")):
        _report(f"compiling requirements/{path.name}")
        command: list[str | Path] = [
            uv,
            *_COMPILE.split(),
            *index_options(),
            "--group",
            f"pyproject.toml:{path.stem}",
            "-o",
            f"requirements/{path.name}",
        ]
        finished = run_uv(command, timeout_s=_COMPILE_LIMIT_S, cwd=places.checkout, report=_report)
        if not finished.ok:
            raise SetupError(f"requirements/{path.name} could not be compiled: {finished.why()}")


def _print_survey() -> None:
    for finding in survey():
        print(finding)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main(argv: list[str]) -> int:
    """0 where all is ready, else what the command after -- says.

    1 where set-up failed: the last line on stdout is then `EXIT 1 <reason>`.
    """
    own, command = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = _parser()
    arguments = parser.parse_args(own)
    if not (arguments.environments or arguments.survey or arguments.lock):
        parser.error("name an environment, or --survey, or --lock")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)  # so that what runs below us is stopped with us
    try:
        if arguments.survey:
            _print_survey()
        if arguments.lock:
            _compile_locks(Places())
        ready = [
            ensure(name, arguments.interpreter, allow_stand_in=not arguments.no_stand_in, report=_report)
            for name in arguments.environments
        ]
    except (SetupError, ValueError) as error:
        _report(str(error))
        if arguments.survey_on_failure:
            _print_survey()
        print(f"EXIT 1 {error.reason if isinstance(error, SetupError) else error}", flush=True)
        return 1
    except KeyboardInterrupt:
        print("EXIT 1 set-up was interrupted", flush=True)
        return 1
    if command and ready:
        return run_in_foreground([ready[0].python, *command], " ".join(command[:2]))
    for environment in ready:
        print(environment.name, environment.python)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
