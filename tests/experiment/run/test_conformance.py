"""Which rows may be measured, and under which label."""

from typing import Any

import pytest

from experiment.run.conformance import NotConforming, admit


def report(label: str, **failed: bool) -> dict[str, Any]:
    """A conformance report: one rule that passed, and those that failed, each strict or not."""
    rules = [{"id": "cover", "strict": False, "outcome": "PASS", "reason": ""}]
    rules += [{"id": id, "strict": strict, "outcome": "FAIL", "reason": "because"} for id, strict in failed.items()]
    return {"label": label, "rules": rules}


def test_every_row_that_keeps_every_rule_is_admitted() -> None:
    assert admit("row", report("conforms"), foreign=False) == "conforms"
    assert admit("row", report("conforms"), foreign=True, breaks=["phases"]) == "conforms"


def test_a_strict_rule_is_forgiven_to_foreign_rows_only() -> None:
    broken = report("conforms (public)", overflow=True)
    assert admit("row", broken, foreign=True) == "conforms (public)"
    with pytest.raises(NotConforming, match="overflow: because"):
        admit("row", broken, foreign=False)


def test_a_foreign_row_may_break_the_rules_that_its_table_names_and_is_labelled_so() -> None:
    broken = report("does not conform", overflow=True, phases=False)
    assert admit("row", broken, foreign=True, breaks=["phases", "cadence"]) == "does not conform: breaks phases"
    for breaks in ([], ["cadence"], ["overflow"]):
        with pytest.raises(NotConforming, match="phases: because"):
            admit("row", broken, foreign=True, breaks=breaks)
    with pytest.raises(NotConforming, match="phases"):
        admit("row", broken, foreign=False, breaks=["phases"])


def test_a_row_of_ours_may_break_what_its_library_breaks_strict_or_not_and_is_labelled_so() -> None:
    broken = report("does not conform", overflow=True, phases=False)
    assert admit("row", broken, foreign=False, breaks=["phases", "overflow"]) == (
        "does not conform: breaks overflow, phases"
    )
    with pytest.raises(NotConforming, match="overflow"):
        admit("row", broken, foreign=False)


def test_rules_that_failed_while_a_quota_from_outside_throttled_say_so() -> None:
    throttled = report("does not conform", cadence=False) | {"throttled": ["a quota throttled it"]}
    with pytest.raises(NotConforming, match="cadence: because — but a quota throttled it"):
        admit("row", throttled, foreign=False)


def test_a_foreign_row_whose_answers_were_never_seen_is_not_admitted_by_what_it_may_break() -> None:
    with pytest.raises(NotConforming, match="every rule was skipped"):
        admit("row", report("does not conform"), foreign=True, breaks=["phases"])
