"""What a command prints: laid out by rich for the width of a terminal, or as plain lines elsewhere.

And what is drawn while work goes on. Untrusted names and messages stay text, and never become control sequences.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from prepare_models_entrypoint.contract.report import ErrorInfo, WarningInfo

_COLOURS = {
    "green": ("built", "restored", "up-to-date", "checked", "ok", "valid", "passed", "good", "cached", "fetched"),
    "yellow": ("warn", "warning", "skipped", "unchecked", "not-compared", "rolled-back"),
    "red": ("fail", "failed", "error", "stale", "unreadable", "BAD", "damaged"),
}
_STYLES = {word: colour for colour, words in _COLOURS.items() for word in words}
_WHOLE = 16  # columns of at most this many characters are never folded
_UNLIMITED = 100_000
_ARROW = "-> "
_BAR, _ROOM_FOR_BARS = 12, 60  # columns
# Control characters (not line breaks and tabs), line separators, direction marks, surrogates.
_COMMANDS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_CONTINUED = "\n    "  # so that a name with line breaks can't look like another message


class Table(NamedTuple):
    """Left-aligned columns. head: their names; empty if not needed. status: the column with colours."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    status: int | None = None

    def __str__(self) -> str:
        return "\n".join(columns([self.head, *self.rows] if self.head else self.rows))

    def fits(self) -> bool:
        """Return whether every row fits on one line."""
        limit = width(sys.stdout)
        return limit is None or max(map(_cells, str(self).splitlines()), default=0) <= limit


class Message(NamedTuple):
    """An error, warning or note, in the layout that all have. about: model and stage, else file or command."""

    kind: str
    code: str
    about: str
    message: str
    hint: str = ""

    def info(self) -> WarningInfo:
        """Return what documents have of a warning."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    def __str__(self) -> str:
        text = f"{self.kind} [{self.code}] {one_line(self.about)}: {self.message}".replace("\n", _CONTINUED)
        hint = self.hint.replace("\n", _CONTINUED)
        return f"{text}\n  {_ARROW}{hint}" if hint else text


Part: TypeAlias = "str | Table | Message"


def of_error(error: ErrorInfo, about: str) -> Message:
    """Return an error of the entrypoint. ``about``: what it is about, if the error names no stage."""
    stage = f", {error['stage']}" if error["stage"] else ""
    return Message("error", error["code"], about + stage, error["message"], error["hint"])


def of_warning(warning: WarningInfo, about: str) -> Message:
    """Return a warning about an engine or its builder. ``about``: what it is about."""
    return Message("warning", warning["code"], about, warning["message"], warning["hint"])


def told_time(seconds: float) -> str:
    """Return a time for a person. ``seconds``: since the epoch."""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def width(stream: TextIO) -> int | None:
    """Return the width of a terminal, from COLUMNS if set; None for files and pipes, whose lines may be long."""
    if not stream.isatty():
        return None
    from rich.console import Console

    return Console(file=stream).width


def show(*parts: Part, wide: bool = False, stream: TextIO | None = None) -> None:
    """Print parts below each other, none wider than the terminal unless ``wide``. By default, to standard output."""
    out = stream or sys.stdout
    limit = width(out)
    text = "\n".join(map(str, parts)) if limit is None else _drawn(parts, _UNLIMITED if wide else limit, out)
    out.write(_held(text if limit is not None else printable(text), out) + "\n")


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of left-aligned columns, two spaces apart."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(_cells, column)) for column in zip(*cells, strict=True)]
    padded = ([cell + " " * (to - _cells(cell)) for cell, to in zip(row, widths, strict=True)] for row in cells)
    return ["  ".join(row).rstrip() for row in padded]


def _cells(text: str) -> int:
    """Return how many columns a text needs on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _held(text: str, out: TextIO) -> str:
    """Return a text with escapes for what the stream's encoding can't represent."""
    name = out.encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def _drawn(parts: Sequence[Part], limit: int, out: TextIO) -> str:
    from rich.console import Console

    drawn = io.StringIO()
    page = Console(file=drawn, width=limit, force_terminal=has_colours(out), markup=False, highlight=False, emoji=False)
    for part in parts:
        if isinstance(part, Table):
            page.print(_table(part, limit, out) if part.rows or part.head else "")
        else:
            kind = part.kind if isinstance(part, Message) else ""
            for line in _held(printable(str(part)), out).split("\n"):
                _flow(page, line, kind, limit)
                kind = ""
    return "\n".join(line.rstrip() for line in drawn.getvalue().removesuffix("\n").split("\n"))


def _table(part: Table, limit: int, out: TextIO) -> RenderableType:
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(box=None, show_header=bool(part.head), header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    rows = [[_held(one_line(cell), out) for cell in row] for row in part.rows]
    for number, column in enumerate(zip(*([part.head] if part.head else []), *rows, strict=True)):
        longest = max(map(_cells, column))
        short = longest <= _WHOLE or (number == 0 and longest <= limit // 2)
        drawn.add_column(part.head[number] if part.head else "", overflow="fold", no_wrap=short)
    for row in rows:
        styles = [_STYLES.get(cell, "") if number == part.status else "" for number, cell in enumerate(row)]
        drawn.add_row(*map(Text, row, styles))
    return drawn


def _flow(page: Console, line: str, kind: str, limit: int) -> None:
    """Print a line, with continuations aligned below its beginning. ``kind``: first word, which has a colour."""
    from rich.padding import Padding
    from rich.text import Text

    body = line.lstrip(" ")
    indent, hanging = len(line) - len(body), len(_ARROW) if body.startswith(_ARROW) else 2
    text = Text(body, overflow="fold")
    text.stylize(_STYLES.get(kind, ""), 0, len(kind))
    if _cells(line) <= limit:
        page.print(Padding(text, (0, 0, 0, indent), expand=False))
        return
    pieces = text.wrap(page, max(limit - indent - hanging, 1), overflow="fold")
    for number, piece in enumerate(pieces):
        page.print(Padding(piece, (0, 0, 0, indent + (hanging if number else 0)), expand=False))


def printable(text: str) -> str:
    r"""Return a text with control characters, and what a terminal can't show, as escapes such as ``\x1b``."""
    return re.sub(_COMMANDS, lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    r"""Return a text like ``printable``, with line breaks and tabs as escapes, too: for log lines and table cells."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def say(text: str) -> None:
    """Print a message to standard error."""
    sys.stderr.write(printable(text) + "\n")


def is_live(stream: TextIO) -> bool:
    """Return whether lines of a stream can be redrawn: it is a terminal, and not a CI log."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream shows colours, and they are not turned off (https://no-color.org)."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


OnBytes = Callable[[int, int], None]


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
