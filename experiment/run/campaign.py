"""What a campaign is: the rows of one ask, each with a search of its own, and how long they take. Starts nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiment.ask import Ask, Config, Resolved, Row, resolve
from experiment.search import Search

CONFORMANCE_S = 45.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """One or several rows, ready to run."""

    resolved: Resolved
    searches: Mapping[str, Search]
    """By the row's label."""
    results: Path

    @property
    def config(self) -> Config:
        """As read."""
        return self.resolved.config

    @property
    def rows(self) -> tuple[Row, ...]:
        """In the order they take turns."""
        return self.resolved.rows

    @property
    def row(self) -> Row:
        """The only one. Raises ConfigError where there are several."""
        return self.resolved.row

    @property
    def name(self) -> str:
        """For the run's folder."""
        variants, shapes = self.resolved.variants, self.resolved.shapes
        rows = variants[0] if len(variants) == 1 else f"{len(variants)}-rows"
        places = shapes[0] if len(shapes) == 1 else f"{len(shapes)}-shapes"
        verb = [] if self.resolved.ask.verb == "experiment" else [self.resolved.ask.verb]
        return "-".join([*verb, rows, places, self.resolved.timing])

    @property
    def keep_env(self) -> tuple[str, ...]:
        """Variables of the user's that its roles get by name."""
        return self.resolved.ask.keep_env or ()

    @property
    def alone(self) -> bool:
        """Whether it has a single row, whose trouble is the campaign's."""
        return len(self.rows) == 1

    def seconds(self) -> tuple[float, float, float]:
        """How long it takes, roughly: with typical ceilings, low and high, and at most."""
        totals = [0.0, 0.0, 0.0]
        for row in self.rows:
            if row.plan is not None:
                before_s = CONFORMANCE_S + (0.0 if row.probe is None else row.probe.point_s)
                for place, points in enumerate(self.searches[row.label].points()):
                    totals[place] += before_s + points * row.plan.point_s
        return totals[0], totals[1], totals[2]


def make_campaign(config: Config, ask: Ask, results: Path) -> Campaign:
    """Resolve an ask, and give every row its search. Raises as `experiment.ask.resolve` does."""
    resolved = resolve(config, ask)
    searches = {row.label: _search(row) for row in resolved.rows}
    return Campaign(resolved, searches, results)


def _search(row: Row) -> Search:
    return Search() if row.plan is None else Search(row.plan.sessions, row.rounds, row.ladder)
