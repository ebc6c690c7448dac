"""Shows a person how far a run is: a bar with the time left on a terminal, plain lines where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_INTERVAL_S = 5.0


class Stage:
    """One thing that takes a while: a point, the conformance suite."""

    def __init__(self, display: "Display", title: str, total_s: float) -> None:
        self._display = display
        self._title = title
        self._total_s = total_s
        self._begin_s = time.monotonic()
        self._said_s = 0.0
        self._phase = ""
        self._task: TaskID | None = None
        if display.bars is not None:
            self._task = display.bars.add_task(title, total=total_s, live="")

    def update(self, phase: str, live: str = "") -> None:
        """Say where the stage is; called as often as there is news."""
        now_s = time.monotonic()
        elapsed_s = now_s - self._begin_s
        text = f"{phase} {live}".rstrip()
        if self._task is not None and self._display.bars is not None:
            self._display.bars.update(self._task, completed=min(elapsed_s, self._total_s), live=text)
        elif phase != self._phase or now_s - self._said_s >= PLAIN_INTERVAL_S:
            left_s = max(0.0, self._total_s - elapsed_s)
            self._display.note(f"  {self._title}: {text} · about {left_s:.0f} s left")
            self._said_s = now_s
        self._phase = phase

    def end(self) -> None:
        """Take the bar away; the table says what came of it."""
        if self._task is not None and self._display.bars is not None:
            self._display.bars.remove_task(self._task)


class Display:
    """Progress and notes on standard error; standard output is left to the table and the result line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.bars: Progress | None = None
        if self.console.is_terminal:
            self.bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[live]}"),
                console=self.console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self.bars is not None:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str, total_s: float) -> Iterator[Stage]:
        """Show a stage for as long as the block runs."""
        stage = Stage(self, title, total_s)
        try:
            yield stage
        finally:
            stage.end()
