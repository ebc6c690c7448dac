"""Statistics, costs, comparisons, figures, pages: reads stored runs and measures nothing. Re-exports only."""

from experiment.report.bench import show_bench
from experiment.report.capacity import draw, text, write_capacity
from experiment.report.comparison import compare
from experiment.report.costs import Spread, paired
from experiment.report.figures import rows_figure, save, save_all
from experiment.report.instructions import keep_instructions
from experiment.report.pages.publish import (
    publish,
    publish_builds,
    publish_draining,
    publish_foreign,
    publish_front,
    publish_memory,
    publish_repeats,
    put_in_readme,
)
from experiment.report.ratios import Ratio, ratio
from experiment.report.screens import show_comparison, show_run
from experiment.report.tables import lines_table, markdown, report_console

__all__ = [
    "Ratio",
    "Spread",
    "compare",
    "draw",
    "keep_instructions",
    "lines_table",
    "markdown",
    "paired",
    "publish",
    "publish_builds",
    "publish_draining",
    "publish_foreign",
    "publish_front",
    "publish_memory",
    "publish_repeats",
    "put_in_readme",
    "ratio",
    "report_console",
    "rows_figure",
    "save",
    "save_all",
    "show_bench",
    "show_comparison",
    "show_run",
    "text",
    "write_capacity",
]
