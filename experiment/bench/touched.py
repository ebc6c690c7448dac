"""Which objects several threads count references of, on a CPython that keeps count of it.

A free-threaded CPython counts the references that an object's own thread takes in a plain field, those of all other
threads in an atomic one. An instrumented build (docs/findings/two-cores.md has its lines) remembers, thread by thread,
whose atomic field was counted down, and how often: `_PyShared_Read`.
"""

import ctypes
import gc
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

_MOST = 65_536


def counts() -> dict[int, Counter[int]]:
    """By the kernel's id of a thread: how often it counted down an object of another thread's, by address.

    Raises RuntimeError on a build that does not count.
    """
    read = getattr(ctypes.pythonapi, "_PyShared_Read", None)
    if read is None:
        raise RuntimeError("expected a CPython that counts; see docs/findings/two-cores.md, “Which objects”")
    read.restype = ctypes.c_ssize_t
    addresses, numbers, thread = (ctypes.c_void_p * _MOST)(), (ctypes.c_uint64 * _MOST)(), ctypes.c_ulong()
    found: dict[int, Counter[int]] = {}
    table = 0
    while (size := read(table, ctypes.byref(thread), addresses, numbers, ctypes.c_ssize_t(_MOST))) >= 0:
        by_address = found.setdefault(thread.value, Counter())
        for place in range(size):
            by_address[addresses[place] or 0] += numbers[place]
        table += 1
    return found


def described(addresses: set[int]) -> dict[int, dict[str, str]]:
    """`{type, what, where}` of those that are alive and can be reached; an address of others may be anybody's."""
    gc.unfreeze()
    alive: dict[int, Any] = {}
    every = gc.get_objects()
    for holder in every:
        if id(holder) in addresses:
            alive[id(holder)] = holder
        for held in gc.get_referents(holder):
            if id(held) in addresses:
                alive[id(held)] = held
    del every
    places = dict(_places(alive))
    return {
        address: {"type": type(found).__name__, "what": _what(found), "where": places.get(address, "")}
        for address, found in alive.items()
    }


def _what(found: Any) -> str:
    named = getattr(found, "__qualname__", None)
    if isinstance(named, str):
        return f"{getattr(found, '__module__', '')}.{named}"
    return repr(found)[:80] if isinstance(found, (str, bytes, int, float, tuple)) else f"a {type(found).__name__}"


def _places(wanted: Mapping[int, Any]) -> Iterator[tuple[int, str]]:
    """Where a module's globals, or its classes' attributes, hold them."""
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType):
            continue
        if id(vars(module)) in wanted:
            yield id(vars(module)), f"the globals of {name}"
        for key, value in list(vars(module).items()):
            if id(value) in wanted:
                yield id(value), f"{name}.{key}"
            if isinstance(value, type) and value.__module__ == name:
                for attribute, held in list(vars(value).items()):
                    if id(held) in wanted:
                        yield id(held), f"{name}.{key}.{attribute}"
