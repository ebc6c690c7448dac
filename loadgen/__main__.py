"""`python -m loadgen`: one run against one gateway; JSON lines on stdout, three files in --out.

Only arguments, signals and exit statuses live here: 0 when the run was completed, whatever it found; 2 for bad input;
1 for a crash.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from loadgen.afterwards.summary import write_files
from loadgen.fleet import Event, WorkerDied, run_fleet
from loadgen.schedule import Timing
from loadgen.shared import Limits
from loadgen.worker import Plan, resolve


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        timing = Timing(ramp_s=args.ramp_s, spread_s=args.spread_s, warmup_s=args.warmup_s, measure_s=args.measure_s)
        limits = Limits(hold_s=args.hold_stalled_s)
        plan = Plan(args.url, args.sessions, timing, args.workers, args.seed, limits, args.burst_frames, args.cpus)
        resolve(plan.url)
        args.out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        run = run_fleet(plan, _tell)
    except WorkerDied as error:
        print(f"loadgen: {error}", file=sys.stderr)
        return 1
    write_files(run, args.out)
    _tell({"event": "phase", "phase": "done", "monotonic_s": time.monotonic()})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadgen", description="Open-loop load on one gateway.")
    parser.add_argument("--url", required=True, help="ws://host:port/ws/stt")
    parser.add_argument("--sessions", type=_positive, required=True)
    for name, what in (
        ("ramp", "sessions start over ramp + spread"),
        ("warmup", "all sessions stream, nothing is measured"),
        ("measure", "the measured window"),
        ("spread", "see ramp"),
    ):
        parser.add_argument(f"--{name}-s", type=float, required=True, metavar="SECONDS", help=what)
    parser.add_argument("--burst-frames", type=_positive, default=1, help="frames that a session sends at once")
    hold = "a session that stands still is spared every limit so much longer, for a look at the gateway"
    parser.add_argument("--hold-stalled-s", type=float, default=0.0, metavar="SECONDS", help=hold)
    parser.add_argument("--workers", type=_positive, default=1, help="processes; session s goes to s %% workers")
    parser.add_argument("--cpus", type=_cpus, default=(), help="one for each worker, with commas; else any")
    parser.add_argument("--seed", type=_natural, default=1, help="of the frames' masks")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer ≥ 1, got {text}")
    return value


def _cpus(text: str) -> tuple[int, ...]:
    return tuple(_natural(number) for number in text.split(","))


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected an integer ≥ 0, got {text}")
    return value


def _tell(event: Event) -> None:
    print(json.dumps(event), flush=True)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
