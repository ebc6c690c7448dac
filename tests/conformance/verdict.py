"""What the outcomes amount to: counts, label, exit status, JSON. No I/O here."""

from collections.abc import Sequence
from typing import Any

from tests.conformance.rule import Outcome

CONFORMS = "conforms"
CONFORMS_PUBLIC = "conforms (public)"
DOES_NOT_CONFORM = "does not conform"


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many passed, failed and were skipped."""
    results = [outcome.result for outcome in outcomes]
    return {"passed": results.count("PASS"), "failed": results.count("FAIL"), "skipped": results.count("SKIP")}


def saw_nothing(outcomes: Sequence[Outcome]) -> bool:
    """Whether everything was skipped, or everything that needs an inference request: then nothing was shown."""
    inference = [outcome for outcome in outcomes if outcome.rule.inference]
    return any(all(outcome.result == "SKIP" for outcome in group) and group for group in (list(outcomes), inference))


def label(outcomes: Sequence[Outcome]) -> str:
    """`conforms (public)` where only strict rules failed. Rules left out cannot fail: judge a whole run."""
    failed = [outcome.rule for outcome in outcomes if outcome.result == "FAIL"]
    if saw_nothing(outcomes) or any(not rule.strict for rule in failed):
        return DOES_NOT_CONFORM
    return CONFORMS_PUBLIC if failed else CONFORMS


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """0 where something passed and nothing failed, 1 otherwise."""
    tally = counts(outcomes)
    return 0 if tally["passed"] and not tally["failed"] and not saw_nothing(outcomes) else 1


def as_json(target: str, infer_port: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The whole run as it is stored."""
    return {
        "target": target,
        "infer_port": infer_port,
        "label": label(outcomes),
        **counts(outcomes),
        "rules": [
            {
                "id": outcome.rule.id,
                "title": outcome.rule.title,
                "strict": outcome.rule.strict,
                "outcome": outcome.result,
                "reason": outcome.reason,
                "seconds": round(outcome.seconds, 3),
            }
            for outcome in outcomes
        ],
    }
