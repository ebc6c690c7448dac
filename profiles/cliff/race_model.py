"""Every interleaving of Granian's `PyFutureAwaitable.add_done_callback` with `set_result`, by explicit-state search.

Pure but for `main`. It models one await (Granian's src/callbacks.rs, 2.8.0 and 2.8.1), not Granian: no I/O, no threads.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Literal

Thread = Literal["waiter", "setter"]
THREADS: tuple[Thread, Thread] = ("waiter", "setter")
END = -1


@dataclass(frozen=True, slots=True)
class State:
    """What both threads can see, and each one's own: program counters and what they have read. Memory is sequentially
    consistent here, which is stronger than Rust's acquire and release; see `ORDERS` for why that hides nothing."""

    pcs: tuple[int, int] = (0, 0)
    """Index of the next step of waiter and setter; END once the operation has returned."""
    result_set: bool = False
    completed: bool = False
    lock: Thread | None = None
    callback_stored: bool = False
    waiter_saw_pending: bool = True
    setter_saw_callback: bool = False
    wakes: int = 0
    """How often the coroutine was put back on its loop, or went on without sleeping."""

    @property
    def ended(self) -> bool:
        """Whether both operations have returned."""
        return self.pcs == (END, END)


Effect = Callable[[State], State | None]
"""A step's effect; None while it must wait (for the lock)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One indivisible action of a thread. `then` says which step follows, by index; None: the next."""

    says: str
    effect: Effect
    then: Callable[[State], int | None] = field(default=lambda _: None)


def _acquire(thread: Thread, state: State) -> State | None:
    return None if state.lock else replace(state, lock=thread)


def _release(state: State) -> State:
    return replace(state, lock=None)


def _read_state(state: State) -> State:
    return replace(state, waiter_saw_pending=not state.completed)


def _store_if_pending(state: State) -> State:
    return replace(state, callback_stored=state.callback_stored or state.waiter_saw_pending)


def _wake(state: State) -> State:
    return replace(state, wakes=state.wakes + 1)


_POLL = Step("__next__: reads state; pending, so the coroutine will sleep; done, so it goes on", _read_state)
_GO_ON = Step("returns the result without sleeping", _wake, lambda _: END)
_CALL_SOON = Step("state was done: calls loop.call_soon(callback)", _wake, lambda _: END)
_LOCK = Step("takes the lock on the callback slot (write)", partial(_acquire, "waiter"))
_STORE = Step("stores the callback, if it saw pending", _store_if_pending)

OLD: tuple[Step, ...] = (
    replace(_POLL, then=lambda s: 2 if s.waiter_saw_pending else 1),
    _GO_ON,
    Step("add_done_callback: reads state", _read_state, lambda s: 3 if s.waiter_saw_pending else 6),
    _LOCK,
    _STORE,
    Step("releases the lock and returns to the loop", _release, lambda _: END),
    _CALL_SOON,
)
"""Up to 2.8.0: state is read first, the lock is taken after."""

NEW: tuple[Step, ...] = (
    replace(_POLL, then=lambda s: 2 if s.waiter_saw_pending else 1),
    _GO_ON,
    _LOCK,
    Step("add_done_callback: reads state, holding the lock", _read_state),
    _STORE,
    Step("releases the lock", _release, lambda s: END if s.waiter_saw_pending else 6),
    _CALL_SOON,
)
"""From 2.8.1: state is read under the lock. Whichever thread takes the lock second sees what the first one did before
it let go, by the lock alone; so weaker memory than the model's opens no further schedule."""

SET_RESULT: tuple[Step, ...] = (
    Step("set_result: stores the result", lambda s: replace(s, result_set=True)),
    Step("swaps state from pending to done", lambda s: replace(s, completed=True)),
    Step("takes the lock on the callback slot (read)", partial(_acquire, "setter")),
    Step("looks for a callback", lambda s: replace(s, setter_saw_callback=s.callback_stored)),
    Step("releases the lock", _release, lambda s: 5 if s.setter_saw_callback else END),
    Step("calls loop.call_soon_threadsafe(callback)", _wake, lambda _: END),
)
"""The same in both versions."""

ORDERS: dict[str, tuple[Step, ...]] = {"old": OLD, "new": NEW}

Schedule = tuple[tuple[Thread, Step], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the whole search found."""

    states: int
    """Distinct states reached."""
    schedules: int
    """Different complete interleavings."""
    lost: int
    """Those after which the result is there and nobody wakes the coroutine."""
    woken_twice: int
    deadlocks: int
    shortest_loss: Schedule | None
    """One losing interleaving of the fewest changes of thread; None if there is none."""


def successors(state: State, waiter: tuple[Step, ...], gil: bool = False) -> Iterator[tuple[Thread, Step, State]]:
    """Every step that can be taken now.

    Args:
        gil: one operation must return before the other begins: each is one call into native code that never lets go.
    """
    programs = (waiter, SET_RESULT)
    for index, thread in enumerate(THREADS):
        other = state.pcs[1 - index]
        # The waiter's `__next__` (steps 0 and 1) and its registration are two calls: a GIL may change hands between.
        other_is_between_calls = other in (0, END) or (index == 1 and other == 2)
        if state.pcs[index] == END or (gil and not other_is_between_calls):
            continue
        step = programs[index][state.pcs[index]]
        after = step.effect(state)
        if after is None:
            continue
        jump = step.then(after)
        pcs = list(after.pcs)
        pcs[index] = state.pcs[index] + 1 if jump is None else jump
        yield thread, step, replace(after, pcs=(pcs[0], pcs[1]))


def search(waiter: tuple[Step, ...], gil: bool = False) -> Verdict:
    """Walk every interleaving; the state space is finite and has no cycle."""
    seen: set[State] = set()
    counts = {"schedules": 0, "lost": 0, "twice": 0, "deadlocks": 0}
    best: Schedule | None = None

    def walk(state: State, path: Schedule) -> None:
        nonlocal best
        seen.add(state)
        following = list(successors(state, waiter, gil))
        for thread, step, after in following:
            walk(after, (*path, (thread, step)))
        if following:
            return
        counts["schedules"] += 1
        counts["deadlocks"] += not state.ended
        counts["twice"] += state.wakes > 1
        if state.ended and state.result_set and state.wakes == 0:
            counts["lost"] += 1
            if best is None or _switches(path) < _switches(best):
                best = path

    walk(State(), ())
    return Verdict(len(seen), counts["schedules"], counts["lost"], counts["twice"], counts["deadlocks"], best)


def _switches(path: Schedule) -> int:
    return sum(before[0] != after[0] for before, after in pairwise(path))


def report(name: str, verdict: Verdict) -> str:
    """The verdict in words, with the losing interleaving where there is one."""
    lines = [
        f"{name}: {verdict.schedules} interleavings over {verdict.states} states; wake-up lost in {verdict.lost}, "
        f"given twice in {verdict.woken_twice}, deadlock in {verdict.deadlocks}"
    ]
    if verdict.shortest_loss:
        lines += [f"  {thread:7}{step.says}" for thread, step in verdict.shortest_loss]
        lines.append("  …      done, a callback stored, nothing queued: the coroutine sleeps for ever")
    return "\n".join(lines)


def main() -> int:
    """Print what the search finds; 0 where the old order loses a wake-up without a GIL, and nothing else does."""
    old, new, old_gil = search(OLD), search(NEW), search(OLD, gil=True)
    print(report("old order (Granian up to 2.8.0), free-threaded", old))
    print(report("old order, with a GIL", old_gil))
    print(report("new order (Granian from 2.8.1), free-threaded", new))
    return 0 if old.lost and not new.lost and not old_gil.lost else 1


if __name__ == "__main__":
    sys.exit(main())
