"""Autobahn's own cases, run by kosoku, against each host's own framing: `echo_hosts` is what they talk to.

Sections 1 to 7, 10, 12 and 13 each time; section 9, messages of up to 16 MiB and a thousand round trips, under
`make test-all`. A case passes where Autobahn calls behaviour and close "OK"; any other verdict that may come is listed.
"""

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.variants.hosts import serving

pytestmark = pytest.mark.skipif(find_spec("kosoku") is None, reason="kosoku is not here: no wheel for this CPython")

AT_ONCE = 16
LIMIT_S = 100.0
HOSTS: dict[str, tuple[str | None, list[str]]] = {
    "drain": (None, ["drain"]),
    "drain-threads": ("drain", ["--loops", "2", "drain"]),
    "picows": (None, ["picows"]),
    "granian": (None, ["asgi"]),
}
"""The environment on 3.14t, or None for the tests' own; options of the echo host."""
OURS = [name for name in HOSTS if name != "granian"]

NON_STRICT, INFORMATIONAL, UNIMPLEMENTED = "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"
OF_ALL = {
    "6.4.3": NON_STRICT,  # a text goes wrong in the middle of a frame: a frame is looked at when it has come whole
    "6.4.4": NON_STRICT,  # the same
    "7.1.6": INFORMATIONAL,  # 256 KiB, a text and a close at once: whether an echo comes; over our limit, so 1009
    "7.13.1": INFORMATIONAL,  # a close with 5000, of which RFC 6455 says nothing
    "7.13.2": INFORMATIONAL,  # the same with 65535
    "12.*": UNIMPLEMENTED,  # permessage-deflate, which no host negotiates
    "13.*": UNIMPLEMENTED,  # the same with parameters
}
OF_DRAIN = {
    "6.4.1": NON_STRICT,  # a text goes wrong in its second fragment: a text is decoded when its last one has come
    "6.4.2": NON_STRICT,  # the same
}
OF_PICOWS = OF_DRAIN | {
    # picows parses one frame ahead of the one that it delivers: a text is not echoed once the frame behind it, where
    # both came at once, was answered with a close.
    "4.1.3": NON_STRICT,
    "4.1.4": NON_STRICT,
    "4.1.5": NON_STRICT,
    "4.2.3": NON_STRICT,
    "4.2.4": NON_STRICT,
    "4.2.5": NON_STRICT,
    "7.1.2": "FAILED, WRONG CODE",  # and so it answers 1002 to the second of two closes before it delivers the first
}
LISTED = {"drain": OF_DRAIN, "drain-threads": OF_DRAIN, "picows": OF_PICOWS, "granian": {}}

OVER_OUR_LIMIT = ("9.1.[2-6]", "9.2.[2-6]", "9.3.*", "9.4.*", "9.5.*", "9.6.*")
"""Messages of 256 KiB and more, in one frame or many: Granian takes them, ours close with 1009."""

Results = dict[str, dict[str, Any]]


def judged(name: str, out: Path, *options: str) -> Results:
    """Autobahn's result of each case that kosoku's options choose. The host lives through them, without a traceback."""
    environment, host = HOSTS[name]
    with ExitStack() as stack:
        log = stack.enter_context((out / "log").open("w+"))
        module = ["tests.variants.echo_hosts", *host]
        process, port = stack.enter_context(serving(environment, module, 9, log))
        kosoku = [str(Path(sys.executable).with_name("kosoku")), f"ws://127.0.0.1:{port}/ws/stt", "-p", str(AT_ONCE)]
        subprocess.run([*kosoku, *options, "-o", str(out)], timeout=LIMIT_S, check=False)  # 1 where a case failed
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        log.seek(0)
        assert "Traceback" not in log.read()
    results: Results
    (results,) = json.loads((out / "index.json").read_text()).values()
    return results


def verdict(result: dict[str, Any]) -> str:
    """Of the messages; and of the close, where that was not as it should be."""
    behaviour, close = result["behavior"], result["behaviorClose"]
    return behaviour if close in ("OK", INFORMATIONAL) else f"{behaviour}, {close}"


def matches(case: str, *patterns: str) -> bool:
    return any(fnmatchcase(case, pattern) for pattern in patterns)


@pytest.mark.parametrize("name", HOSTS)
def test_framing_is_as_autobahn_wants_it_or_as_listed(name: str, tmp_path: Path) -> None:
    results = judged(name, tmp_path, "-x", "9.*")
    assert {case.partition(".")[0] for case in results} == {"1", "2", "3", "4", "5", "6", "7", "10", "12", "13"}
    listed = OF_ALL | LISTED[name]
    assert {
        case: result
        for case, result in results.items()
        if verdict(result) not in ("OK", *(may_come for which, may_come in listed.items() if matches(case, which)))
    } == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTS)
def test_large_messages_come_back_or_are_refused_over_the_limit(name: str, tmp_path: Path) -> None:
    results = judged(name, tmp_path, "-i", "9.*")
    refused = {case for case in results if name in OURS and matches(case, *OVER_OUR_LIMIT)}
    assert len(refused) == (40 if name in OURS else 0)
    assert {case: results[case] for case in refused if results[case]["remoteCloseCode"] != 1009} == {}
    assert {case: result for case, result in results.items() if case not in refused and verdict(result) != "OK"} == {}
