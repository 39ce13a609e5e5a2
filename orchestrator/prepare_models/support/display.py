"""The live display on a terminal: a line for each thing that goes on. Drawn by rich, loaded when it is needed."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

OnBytes = Callable[[int, int], None]


def display() -> Progress:
    """Return a display on standard error, which is gone when its block ends. ``stage`` is a field of its tasks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextlib.contextmanager
def byte_lines(*, show: bool) -> Iterator[Callable[[str], OnBytes]]:
    """Yield what makes a line: it takes the number of bytes that are done, and of all, and shows them on a terminal."""
    with contextlib.ExitStack() as stack:
        shown = functools.cache(lambda: stack.enter_context(display()))

        def line(what: str) -> OnBytes:
            task = functools.cache(lambda: shown().add_task(what, stage=""))

            def tell(done: int, total: int) -> None:
                amount = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
                shown().update(task(), completed=done, total=total, stage=amount)

            return tell

        yield line if show and sys.stderr.isatty() else lambda _: lambda _done, _total: None
