"""The layouts that `make sharing` compares: so many processes of so many loops, and what each thread has of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Layout:
    """How the loops of a machine are put into processes. Always one loop for each of `loops` CPUs."""

    name: str
    about: str
    processes: int = 1
    loops: int = 2
    """Of each process."""
    options: tuple[str, ...] = ()
    """Of `side_by_side`."""
    gil: bool = False
    """The same binary with PYTHON_GIL=1."""
    revision: str | None = None
    """Of the laboratory, where it is another one."""
    compiles: bool = False
    """Modules are compiled in each process, as with PYTHONDONTWRITEBYTECODE=1 and nothing written before."""


PROCESSES = Layout("processes", "a process for each loop: they share nothing", processes=2, loops=1)
THREADS = Layout("threads", "a thread for each loop, as the row has it")
COUNTED = Layout("threads, counted", "threads, on a CPython that counts what they touch", options=("--count-shared",))
TRACED = tuple(replace(each, name=f"{each.name}, traced", options=("--trace-waits",)) for each in (PROCESSES, THREADS))
"""What their loops wait for, as perf sees it."""
ONE = Layout("one", "one loop alone, the other CPU idle", loops=1)
AGAIN = " again"


def layouts(
    steps: Sequence[str], *, shares_clock: bool = False, revision: str | None = None, alone: bool = False
) -> list[Layout]:
    """All of a host, in the order in which a round measures them; those that end in “ again” are their own A/A.

    Args:
        steps: what a thread is given of its own, one after the other: options of `side_by_side`.
        shares_clock: whether one more object is shared, too.
        revision: a commit of the laboratory whose processes and threads are measured, too.
        alone: whether one loop is measured alone.
    """
    own = [
        Layout(f"threads, own {name}", f"and each thread with its own {', '.join(steps[: place + 1])}",
               options=("--own", ",".join(steps[: place + 1])))
        for place, name in enumerate(steps)
    ]  # fmt: skip
    clock = [
        Layout("processes, shared clock", "each frame asks a Python object for the time", 2, 1, ("--share-clock",)),
        Layout("threads, shared clock", "all threads' frames ask the same one", 1, 2, ("--share-clock",)),
    ]
    former = [replace(each, name=f"{each.name} of {revision}", revision=revision) for each in (PROCESSES, THREADS)]
    return [
        PROCESSES,
        THREADS,
        *(former if revision else ()),
        *own,
        Layout(f"processes{AGAIN}", PROCESSES.about, 2, 1),
        Layout(f"threads{AGAIN}", THREADS.about),
        *(clock if shares_clock else ()),
        Layout("processes, no bytecode", "processes that compile their modules themselves", 2, 1, compiles=True),
        Layout("threads, no bytecode", "threads of a process that compiled its modules itself", 1, 2, compiles=True),
        Layout("processes, GIL", "processes, with PYTHON_GIL=1", 2, 1, ("--gil",), gil=True),
        Layout("threads, GIL", "threads, with PYTHON_GIL=1", 1, 2, ("--gil",), gil=True),
        *([ONE] if alone else ()),
    ]
