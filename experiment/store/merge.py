"""Whether runs may stand in one table, and if not, each fact in which they differ. Pure: manifests in, text out."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

Manifest = Mapping[str, Any]

_MACHINE = ("cpu_model", "cpus", "memory_bytes", "virtualisation", "kernel", "kernel_build", "cgroup")
_LATER_MACHINE = ("cgroup_writable", "cgroup_controllers")
"""Those that evidence of older runs does not have: compared where both have them."""
_SETTINGS = ("timing", "slo", "simulator", "harness")
_BUILD = ("version", "free_threaded", "compiler", "pgo", "lto", "libc")
IDENTITY = (
    "branch",
    "commit",
    "configure_options",
    "compiler_flags",
    "debug",
    "jit",
    "jit_enabled",
    "tail_call",
    "binary_sha256",
    "libpython_sha256",
)
"""Facts that tell builds of one version apart, beside compiler, PGO and LTO; later than the first runs."""


def differences(runs: Mapping[str, Manifest]) -> list[str]:
    """One line per fact and pair of runs (by name); empty where they may be merged.

    Machine, kernel, cgroup controllers, timing, limits, simulator, harness and shapes must be the same. So must the
    interpreter and the packages of the harness, of every row that both have, and of rows that ask for the same
    interpreter or environment.
    """
    return [
        f"{what}: {one} has {mine!r}, {other} has {theirs!r}"
        for (one, first), (other, second) in combinations(runs.items(), 2)
        for what, mine, theirs in compared(first, second)
    ]


def contract_of(run: Manifest) -> int:
    """The version of the measuring contract that a run was made by; one that names none is of the first."""
    version: int = run.get("contract", 1)
    return version


def facts_of(differences: list[str]) -> str:
    """The names alone of the facts that differ, for one line."""
    return ", ".join(dict.fromkeys(line.partition(": ")[0] for line in differences))


def compared(first: Manifest, second: Manifest) -> Iterator[tuple[str, Any, Any]]:
    """The facts that differ between two runs: name, value in the first, value in the second."""
    one, other = ({"version": contract_of(run)} for run in (first, second))
    yield from _unlike("contract", one, other)
    yield from _unlike("machine", first["machine"], second["machine"], (*_MACHINE, *_later(first, second)))
    for table in _SETTINGS:
        yield from _unlike(table, first[table], second[table])
    yield from _unlike("shapes", _shapes(first), _shapes(second))
    yield from _unlike("environment", kept_environment(first), kept_environment(second))
    yield from _interpreter("harness", first["interpreters"]["harness"], second["interpreters"]["harness"])
    for row in first["rows"].keys() & second["rows"].keys():
        mine, theirs = first["rows"][row], second["rows"][row]
        yield from _unlike(f"row {row}", mine["variant"], theirs["variant"])
        yield from _interpreter(f"row {row}", mine["interpreter"], theirs["interpreter"])
    mine_by, theirs_by = _by_request(first), _by_request(second)
    for asked in sorted(mine_by.keys() & theirs_by.keys()):
        yield from _builds(f"interpreter {asked}", mine_by[asked], theirs_by[asked])
    mine_by, theirs_by = _by_environment(first), _by_environment(second)
    for environment in sorted(mine_by.keys() & theirs_by.keys()):
        yield from _packages(f"packages of {environment}", mine_by[environment], theirs_by[environment])


def _later(first: Manifest, second: Manifest) -> list[str]:
    return [key for key in _LATER_MACHINE if key in first["machine"] and key in second["machine"]]


def _unlike(
    what: str, mine: Mapping[str, Any], theirs: Mapping[str, Any], keys: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    for name in keys or sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            yield f"{what} {name}", mine.get(name), theirs.get(name)


def kept_environment(run: Manifest) -> dict[str, str]:
    """Variables that its roles got because the user asked for them by name; older runs have no such thing."""
    kept: dict[str, str] = run.get("environment", {}).get("kept", {})
    return kept


def _shapes(run: Manifest) -> dict[str, Any]:
    """Of runs with several shapes the same set is asked for. An older run does not say who receives: the sender."""
    return {row["shape"]["name"]: {"receive": "sender", **row["shape"]} for row in run["rows"].values()}


def _interpreter(
    what: str, mine: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any, Any]]:
    if mine is None or theirs is None:
        return
    yield from _builds(f"{what} interpreter", mine, theirs)
    yield from _packages(f"{what} package", mine, theirs)


def _builds(what: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What older runs do not say of an interpreter is compared where both have it."""
    yield from _unlike(what, mine, theirs, (*_BUILD, *(key for key in IDENTITY if key in mine and key in theirs)))


def _packages(what: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Versions; with them origin and contents, where both runs have these."""
    both_know = "package_contents" in mine and "package_contents" in theirs

    def said(facts: Mapping[str, Any]) -> dict[str, str]:
        known = facts["package_contents"] if both_know else {}
        return {name: f"{version} {known.get(name, '')}".strip() for name, version in facts["packages"].items()}

    yield from _unlike(what, said(mine), said(theirs))


def _by_request(run: Manifest) -> dict[str, dict[str, Any]]:
    found = {}
    for row in run["rows"].values():
        if row["interpreter"] is not None and "interpreter" in row["variant"]:
            facts = row["interpreter"]
            found[facts.get("requested") or row["variant"]["interpreter"]] = facts
    return found


def _by_environment(run: Manifest) -> dict[str, dict[str, Any]]:
    return {
        f"{row['variant']['environment']} on {row['variant']['interpreter']}": row["interpreter"]
        for row in run["rows"].values()
        if row["interpreter"] is not None and "environment" in row["variant"]
    }
