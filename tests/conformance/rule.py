"""What a rule is, and how it is registered. How it says that it failed is in `expect`. No I/O here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tests.conformance.case import Case

Check = Callable[[Case], Awaitable[str | None]]
Result = Literal["PASS", "FAIL", "SKIP"]


@dataclass(frozen=True)
class Rule:
    """One rule of the contract, checked by `check`, which returns facts worth printing, or raises Failed or Skipped."""

    id: str
    title: str
    check: Check
    strict: bool = False
    """Stricter than the public benchmark."""
    inference: bool = False
    """Needs a request at the inference server; without one it is SKIP, where no rule saw one."""
    timing: bool = False
    """Judges times: where it fails beside others, it is tried once more, alone."""
    alone: bool = False
    """Disturbs the inference server or its connections, so nothing may run beside it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one rule."""

    rule: Rule
    result: Result
    reason: str
    """Facts where it passed; what was expected and what came where it failed; why where it was skipped."""
    seconds: float


RULES: dict[str, Rule] = {}
"""Every rule by its id, in the order of registration, which is the order of the contract."""


def add_rule(rule: Rule) -> None:
    """Register one rule; its id must be new."""
    if rule.id in RULES:
        raise ValueError(f"two rules are called {rule.id!r}")
    RULES[rule.id] = rule


def rule(
    id: str,
    title: str,
    *,
    strict: bool = False,
    inference: bool = False,
    timing: bool = False,
    alone: bool = False,
) -> Callable[[Check], Check]:
    """Register the decorated check as a rule."""

    def register(check: Check) -> Check:
        add_rule(Rule(id, title, check, strict, inference, timing, alone))
        return check

    return register
