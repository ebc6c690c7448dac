"""The arrows that must never exist, read from the sources with `ast`: a tree in, violations out. Imports none of it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("gateway", "variants", "simulator", "loadgen", "experiment", "profiles", "notebooks", "tests")
MOST_LINES = 400

FORBIDDEN = {
    "gateway": ("variants", "simulator", "loadgen", "experiment", "profiles", "notebooks", "tests"),
    "variants": ("experiment", "loadgen", "profiles", "notebooks", "tests"),
    "simulator": ("gateway", "variants", "experiment", "loadgen", "profiles", "notebooks", "tests"),
    "loadgen": ("gateway", "variants", "notebooks", "tests"),
    "experiment": ("notebooks", "tests"),
    "profiles": ("notebooks", "tests"),
    "notebooks": ("notebooks", "tests"),
    "tests": ("notebooks",),
}
"""From a folder to what it must not import; `allowed` makes the exceptions."""

GATEWAY_MAY_IMPORT = {
    *("__future__", "abc", "bisect", "collections", "dataclasses", "enum", "functools", "itertools", "json", "math"),
    *("operator", "re", "struct", "types", "typing"),
}

ROOMS: dict[str, dict[str, tuple[str, ...]]] = {
    "experiment": {
        "setup": (),
        "host": ("setup",),
        "ask": ("host", "setup"),
        "search": ("ask",),
        "store": ("ask", "host", "setup"),
        "run": ("search", "store", "ask", "host", "setup"),
        "bench": ("run", "store", "ask", "host", "setup"),
        "report": ("search", "store", "ask", "host", "setup"),
        "cli": ("run", "report", "bench", "search", "store", "ask", "host", "setup"),
    },
    "profiles": {"profilers": (), "forensics": ("profilers",), "cliff": ("profilers", "forensics")},
}
"""The rooms of a folder, and which of its rooms each may import. What lies beside the rooms is below or above them all:
`experiment.terms` and `experiment.phases` import nothing, and `profiles`' own files are free."""

DOORS = {"bench": "suite"}
"""The one file of a room of `experiment` that others import; `__init__` where it is not named here."""
MOST_MODULES = 15
"""Side by side in a folder."""

PURE = (
    "simulator.due",
    "simulator.stub",
    "simulator.service_time",
    "simulator.wire.http2",
    "simulator.wire.request",
    "loadgen.schedule",
    "loadgen.ledger",
    "loadgen.messages",
    "loadgen.percentiles",
    "loadgen.afterwards.stalls",
    "experiment.ask.schema",
    "experiment.phases",
    "experiment.report.costs",
    "experiment.report.statistics",
    "experiment.run.verdict",
    "experiment.search.ladder",
    "experiment.search.points",
    "experiment.store.merge",
    "experiment.terms",
    "profiles.bisect.halving",
    "profiles.bisect.sequential",
    "profiles.cliff.hazard",
)
"""Bytes, times and settings in, values out: nothing that these import, however far away, may do I/O."""

IO_MODULES = {
    *("asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "resource", "select"),
    *("selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile"),
    *("threading", "time", "urllib"),
    *("aiohttp", "anyio", "fastapi", "granian", "h2", "picows", "psutil", "rich", "starlette", "typer", "uvloop"),
    *("websockets", "zmq"),
}
IO_BUILTINS = {"open", "print", "input", "breakpoint"}
DYNAMIC_BUILTINS = {"__import__", "eval", "exec", "compile"}
TOML_READERS = {"tomllib", "tomli", "tomlkit", "toml", "rtoml", "pytoml"}


@dataclass
class Module:
    """One source file: what it imports, and what else the rules look at."""

    name: str
    path: str
    source: str
    tree: ast.Module
    imports: dict[str, int] = field(default_factory=dict)
    """Absolute names as written (`a.b`, and `a.b.c` for `from a.b import c`), with their first line."""
    names: dict[str, int] = field(default_factory=dict)
    """Bare names that are used, with their first line."""

    @property
    def top(self) -> str:
        """The folder that it lives in."""
        return self.name.partition(".")[0]


def read_tree(root: Path) -> dict[str, Module]:
    """Every module of the repository's packages, by name."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {module.name: module for module in (read_module(root, path) for path in paths)}


def read_module(root: Path, path: Path) -> Module:
    """One source file below `root`."""
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    source = path.read_text(encoding="utf-8")
    module = Module(name, str(relative), source, ast.parse(source, str(relative)))
    for imported, line in _imports(module.tree, name if is_package else name.rpartition(".")[0]):
        module.imports.setdefault(imported, line)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name):
            module.names.setdefault(node.id, node.lineno)
    return module


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, int]]:
    """What a module imports, wherever it does so: at the top, in a function, for types only, or by a literal name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield base, node.lineno
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__", "run_module"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno


def _called(node: ast.Call) -> str:
    """The last part of the name that is called, or nothing."""
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def violations(modules: dict[str, Module]) -> list[str]:
    """Every broken rule as `path:line: what`; empty where the house stands."""
    found: list[str] = []
    for module in modules.values():
        found += _arrows(module)
        found += _gateway(module)
        found += _config(module)
        found += _shape(module)
        found += _rooms(module, modules)
    found += _circles(modules)
    found += _crowds(modules)
    for name in PURE:
        if name in modules:
            found += _purity(name, modules)
    return found


def allowed(source: str, target: str) -> bool:
    """Whether module `source` may import `target`, both by absolute name and inside the repository."""
    folder, top = source.partition(".")[0], target.partition(".")[0]
    if folder == "variants" and top == "variants":
        own, theirs = source.split(".")[1:2], target.split(".")[1:2]
        return not theirs or theirs in (own, ["shared"])
    if folder == "loadgen" and top == "simulator":
        return target == "simulator" or target == "simulator.stub" or target.startswith("simulator.stub.")
    return top not in FORBIDDEN.get(folder, ())


def _arrows(module: Module) -> Iterator[str]:
    for target, line in module.imports.items():
        if target.partition(".")[0] in PACKAGES and not allowed(module.name, target):
            yield f"{module.path}:{line}: {module.name} must not import {target}"


def needed(module: Module, modules: dict[str, Module]) -> dict[str, int]:
    """The modules of the repository that one needs, by name, with the line. `from package import name` needs the module
    of that name where there is one; else, where the package only re-exports it, the module that it comes from."""
    found: dict[str, int] = {}
    for target, line in module.imports.items():
        parent, _, name = target.rpartition(".")
        if target in modules:
            if not _is_package(modules[target]) or not any(f"{target}." in other for other in module.imports):
                found.setdefault(target, line)
        elif parent in modules and _is_package(modules[parent]):
            found.setdefault(_origin(modules[parent], name, modules), line)
        elif parent in modules:
            found.setdefault(parent, line)
    found.pop(module.name, None)
    return found


def _is_package(module: Module) -> bool:
    return module.path.endswith("__init__.py")


def _origin(package: Module, name: str, modules: dict[str, Module]) -> str:
    """The module that a package takes `name` from; the package itself where that is not seen."""
    for target in package.imports:
        parent, _, given = target.rpartition(".")
        if given == name and parent in modules and parent != package.name:
            return parent
    return package.name


def _room(name: str) -> tuple[str, str]:
    """The folder with rooms and the room that a module lives in; ("", "") for any other."""
    folder, _, rest = name.partition(".")
    room = rest.partition(".")[0]
    return (folder, room) if room in ROOMS.get(folder, {}) else ("", "")


def _rooms(module: Module, modules: dict[str, Module]) -> Iterator[str]:
    """Arrows between rooms point one way, and enter a room of `experiment` by its door."""
    folder, room = _room(module.name)
    for target, line in module.imports.items():
        to_folder, to_room = _room(target)
        if not to_room or (to_folder, to_room) == (folder, room) or module.top in ("tests", "notebooks"):
            continue
        if folder == to_folder and to_room not in ROOMS[folder][room]:
            may = ", ".join(ROOMS[folder][room]) or "none"
            yield f"{module.path}:{line}: {folder}/{room} must not import {target}; of the rooms it may: {may}"
        door = f"{to_folder}.{to_room}" + (f".{DOORS[to_room]}" if to_room in DOORS else "")
        behind = target in modules and target not in (door, f"{to_folder}.{to_room}")
        package, _, name = target.rpartition(".")
        if behind and package == door and _origin(modules[door], name, modules) != door:
            # A function of its module's name, unless more of the module is imported.
            behind = any(other.startswith(f"{target}.") for other in module.imports)
        if to_folder == "experiment" and behind and module.name != "experiment.__main__":
            yield f"{module.path}:{line}: {target} is not a door; import from {door}"
    if module.name in ("experiment.terms", "experiment.phases"):
        for target, line in module.imports.items():
            if target.partition(".")[0] in PACKAGES:
                yield f"{module.path}:{line}: {module.name} lies below every room and must not import {target}"


def _circles(modules: dict[str, Module]) -> Iterator[str]:
    """Files that need each other, however far around: the first circle that is found, at its first file."""
    try:
        TopologicalSorter({name: needed(module, modules) for name, module in modules.items()}).prepare()
    except CycleError as error:
        circle = sorted(set(error.args[1]))
        yield f"{modules[circle[0]].path}:1: a circle of files: {', '.join(circle)}"


def _crowds(modules: dict[str, Module]) -> Iterator[str]:
    """A folder with too many modules side by side has outgrown its name; `__init__` and `__main__` do not count."""
    folders: dict[str, int] = {}
    for module in modules.values():
        folder, _, file = module.path.rpartition("/")
        folders[folder] = folders.get(folder, 0) + (not file.startswith("__"))
    for folder, count in folders.items():
        if count > MOST_MODULES:
            yield f"{folder}:1: {count} modules side by side; make rooms for more than {MOST_MODULES}"


def _gateway(module: Module) -> Iterator[str]:
    """The core takes bytes and times: no module but a few pure ones, and no way around that."""
    if module.top != "gateway":
        return
    for target, line in module.imports.items():
        top = target.partition(".")[0]
        if top not in GATEWAY_MAY_IMPORT and top not in PACKAGES:
            yield f"{module.path}:{line}: the core may not import {target}; it may {sorted(GATEWAY_MAY_IMPORT)}"
    yield from _builtins(module, IO_BUILTINS | DYNAMIC_BUILTINS)


def _builtins(module: Module, names: set[str]) -> Iterator[str]:
    for name in module.names.keys() & names:
        yield f"{module.path}:{module.names[name]}: {module.name} must not use {name}"


def _config(module: Module) -> Iterator[str]:
    """`experiments.toml` has one reader. Prose may name the file; a string that is its path may not stand elsewhere."""
    if module.name == "experiment.ask.config" or module.top == "tests":
        return
    for target, line in module.imports.items():
        if target.partition(".")[0] in TOML_READERS or target == "experiment.ask.config.EXPERIMENTS":
            yield f"{module.path}:{line}: only experiment.ask.config reads experiments.toml; it imports {target}"
    if "experiments.toml" not in module.source and "EXPERIMENTS" not in module.source:
        return
    prose = {id(part) for node in ast.walk(module.tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "EXPERIMENTS":
            yield f"{module.path}:{node.lineno}: only experiment.ask.config reads experiments.toml"
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.endswith("experiments.toml")
            and " " not in node.value
            and id(node) not in prose
        ):
            yield f"{module.path}:{node.lineno}: only experiment.ask.config reads experiments.toml, got a path to it"


def _shape(module: Module) -> Iterator[str]:
    """A module opens with what lives in it, stays short, and `__init__` only re-exports."""
    lines = module.source.count("\n")
    if lines > MOST_LINES:
        yield f"{module.path}:{MOST_LINES}: {lines} lines; split by {MOST_LINES}"
    if module.tree.body and ast.get_docstring(module.tree) is None:
        yield f"{module.path}:1: no docstring; open with what lives here and what must not"
    if not module.path.endswith("__init__.py"):
        return
    for number, node in enumerate(module.tree.body):
        is_docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_all = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        if not (is_docstring or is_all or isinstance(node, ast.Import | ast.ImportFrom)):
            yield f"{module.path}:{node.lineno}: __init__.py only re-exports, got {type(node).__name__}"


def _purity(name: str, modules: dict[str, Module]) -> Iterator[str]:
    """No I/O module is reached from a pure one, directly or through what it needs. What a room's door re-exports beside
    that is not counted: it is imported, and not used."""
    ways: dict[str, str] = {name: name}
    pending = [name]
    while pending:
        module = modules[pending.pop()]
        way = ways[module.name]
        for target, line in module.imports.items():
            if target.partition(".")[0] in IO_MODULES:
                yield f"{module.path}:{line}: {name} is pure, and reaches {target} ({way})"
        for part in needed(module, modules):
            if part not in ways:
                ways[part] = f"{way} → {part}"
                pending.append(part)
        yield from _builtins(module, IO_BUILTINS)
