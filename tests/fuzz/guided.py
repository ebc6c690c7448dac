"""One atheris process: instruments what is fuzzed, runs libFuzzer over one target, and ends with it.

`python -m tests.fuzz.guided TARGET LIBFUZZER-ARGUMENT …`; `tests.fuzz` starts it.
"""

import sys

import atheris

with atheris.instrument_imports(include=["gateway", "variants", "websockets", "h2", "hpack", "hyperframe"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
