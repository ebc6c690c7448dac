"""Fuzzes one parser, guided by coverage: `python -m tests.fuzz TARGET RUNS [--keep]`, in the environment `fuzz`.

It starts from the kept corpus; --keep adds to that what reached new code. An input that breaks a target is printed in
base64, as a line of the corpus is: put there, it is replayed by every run of the tests.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
MOST_INPUT_BYTES = 4096
MOST_INPUT_S = 10
SEED = 1


def fuzz(target: str, runs: int, *, keep: bool) -> int:
    """0 where nothing broke in so many inputs."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        inputs, broken = Path(name) / "inputs", Path(name) / "broken"
        inputs.mkdir()
        broken.mkdir()
        for number, data in enumerate(corpus.read(target)):
            (inputs / str(number)).write_bytes(data)
        options = (f"-runs={runs}", f"-max_len={MOST_INPUT_BYTES}", f"-timeout={MOST_INPUT_S}", f"-seed={SEED}")
        command: list[str | Path] = [sys.executable, "-m", "tests.fuzz.guided", target, *options]
        command += [f"-artifact_prefix={broken}/", inputs]
        status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
        if keep and status == 0:
            kept = corpus.keep(target, [path.read_bytes() for path in inputs.iterdir()])
            print(f"{target}: {kept} inputs are kept")
        for path in broken.iterdir():
            print(f"{target}: broke by {b64encode(path.read_bytes()).decode()}")
        return status


def main(arguments: Sequence[str]) -> int:
    """As `fuzz`; 2 where there is no atheris."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one parser.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("runs", type=int, help="so many inputs, besides the kept ones")
    parser.add_argument("--keep", action="store_true", help="add what reached new code to the kept inputs")
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("atheris") is None:
        print("expected atheris: run it with `python -m experiment.setup fuzz -- -m tests.fuzz …`", file=sys.stderr)
        return 2
    return fuzz(chosen.target, chosen.runs, keep=chosen.keep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
