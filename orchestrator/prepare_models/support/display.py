"""The live display on a terminal: a line for each activity. Drawn by rich, which is loaded when needed."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .terminal import is_live, one_line

if TYPE_CHECKING:
    from rich.progress import Progress

OnBytes = Callable[[int, int], None]

_BAR, _ROOM_FOR_BARS = 12, 60  # columns


def display() -> Progress:
    """Return a display on standard error, which disappears when its block ends. ``stage`` is a field of its tasks.

    While it runs, it owns the terminal: text written to ``sys.stderr`` and ``sys.stdout`` appears above its lines.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    def cut() -> Column:
        return Column(no_wrap=True, overflow="ellipsis", ratio=1)

    console = Console(stderr=True, no_color=True, highlight=False)
    bars = [BarColumn(bar_width=_BAR, table_column=Column(width=_BAR))] if console.width >= _ROOM_FOR_BARS else []
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=cut()),
        *bars,
        TextColumn("{task.fields[stage]}", markup=False, table_column=cut()),
        TimeElapsedColumn(table_column=Column(width=len("0:00:00"))),
        console=console,
        transient=True,
        expand=True,
    )


@contextlib.contextmanager
def byte_lines(*, show: bool) -> Iterator[Callable[[str], OnBytes]]:
    """Yield a function that adds a line to the display and returns a callback for bytes done and total bytes."""
    with contextlib.ExitStack() as stack:
        shown = functools.cache(lambda: stack.enter_context(display()))

        def line(what: str) -> OnBytes:
            task = functools.cache(lambda: shown().add_task(one_line(what), stage=""))

            def tell(done: int, total: int) -> None:
                amount = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
                shown().update(task(), completed=done, total=total, stage=amount)

            return tell

        yield line if show and is_live(sys.stderr) else lambda _: lambda _done, _total: None
