"""How a rule says that it failed, or saw nothing. No I/O here."""


class Failed(Exception):
    """The gateway broke the rule: what was expected, and what came."""


class Skipped(Exception):
    """The rule could not be observed: why, and what would make it observable."""


def expect(condition: object, reason: str) -> None:
    """Raise Failed with `reason` unless `condition` holds."""
    if not condition:
        raise Failed(reason)
