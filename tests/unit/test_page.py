"""What commands show fits where it is shown: a terminal of any width, a pipe, an encoding that holds little."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from prepare_models.support.page import Message, Table, show

WORDS = st.text(st.characters(codec="utf-8"), max_size=60)
TABLES = st.integers(1, 6).flatmap(
    lambda count: st.builds(
        Table,
        st.lists(st.text("ABC ", min_size=1, max_size=12), min_size=count, max_size=count),
        st.lists(st.lists(WORDS, min_size=count, max_size=count), max_size=4),
    )
)
MESSAGES = st.builds(Message, st.sampled_from(("error", "warning")), st.just("code"), WORDS, WORDS, WORDS)


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@given(st.lists(st.one_of(WORDS, TABLES, MESSAGES), max_size=4), st.sampled_from((40, 80, 120)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_nothing_is_wider_than_the_terminal(parts: list[str | Table | Message], width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("NO_COLOR", "1")
        terminal = Tty()
        show(*parts, stream=terminal)
    lines = terminal.getvalue().split("\n")
    assert max(map(cell_len, lines)) <= width
    assert not set(terminal.getvalue()) & set(map(chr, (*range(9), *range(11, 32), 127)))


def test_a_pipe_gets_lines_as_long_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    pipe = io.StringIO()
    show(
        Table(("NAME", "WHY"), [("net", "because " * 20)]),
        Message("error", "c", "net, convert", "m " * 50, "h"),
        stream=pipe,
    )
    assert pipe.getvalue().splitlines() == [
        "NAME  WHY",
        "net   " + ("because " * 20).rstrip(),
        "error [c] net, convert: " + "m " * 50,
        "  -> h",
    ]


def test_wide_and_combining_characters_keep_columns_in_line() -> None:
    lines = str(Table(("NAME", "B"), [("画像", "x"), ("e\u0301", "y"), ("plain", "z")])).splitlines()
    assert [cell_len(line[: line.index(last)]) for line, last in zip(lines, "Bxyz", strict=True)] == [7] * 4


def test_what_an_encoding_can_not_hold_is_an_escape() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    show(Table(("NAME",), [("画",)]), stream=stream)
    stream.flush()
    assert written.getvalue() == b"NAME\n\\u753b\n"


def test_a_name_with_line_breaks_begins_no_message_of_its_own() -> None:
    name = "a\nerror [internal] b: c\n  -> run: rm"
    lines = str(Message("error", "usage", name, name, name)).split("\n")
    assert [line for line in lines[1:] if not line.startswith("    ")] == ["  -> a"]
