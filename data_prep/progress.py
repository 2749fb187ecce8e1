"""A progress line with rows/s and time left, on a terminal only.

with progress("encoding", total=n) as step: step(256)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class RowsPerSecond(ProgressColumn):
    """How fast it goes."""

    def render(self, task: Task) -> Text:
        """`1,234 rows/s`."""
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} rows/s")


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Shows how far `what` is; the block's value is called with the number of rows done since the last call.

    Writes to stderr, and nothing at all where that is no terminal, so that logs and pipes stay readable.
    """
    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RowsPerSecond(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def step(rows: int = 1) -> None:
            bar.advance(task, rows)

        yield step
