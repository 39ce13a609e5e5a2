"""Does a command print what a page shows? The page may leave out what varies."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNITS = r"(?:ms|s|min|h|B|kB|KB|MB|GB|TB|KiB|MiB|GiB|%)"
_VARIES = re.compile(
    rf"(?P<rest>…|\.\.\.)|(?P<number>\d[\d.,]*)(?P<unit> ?{_UNITS}\b)"
    r"|(?P<decimal>(?<![\w.])\d+\.\d+(?![\w.]))|(?P<space>\s+)"
)


def difference(shown: Sequence[str], printed: Sequence[str]) -> str | None:
    """Return how the lines of a page differ from those that were printed, or None where they agree.

    ``…`` stands for the rest of anything within a line, and alone on a line for any number of lines. Numbers before a
    unit, decimal fractions (but not versions such as 1.7.1), and widths of columns may differ.
    """
    shown, printed = _trimmed(shown), _trimmed(printed)
    if _agree(shown, printed):
        return None
    return "\n".join(["the page shows:", *shown, "", "what was printed:", *printed])


def _agree(shown: Sequence[str], printed: Sequence[str]) -> bool:
    if not shown:
        return not printed
    if shown[0].strip() in ("…", "..."):
        return any(_agree(shown[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and bool(_pattern(shown[0]).fullmatch(printed[0].rstrip())) and _agree(shown[1:], printed[1:])


def _trimmed(lines: Sequence[str]) -> list[str]:
    return "\n".join(line.rstrip() for line in lines).strip("\n").splitlines()


def _pattern(line: str) -> re.Pattern[str]:
    parts, end = [], 0
    for match in _VARIES.finditer(line):
        parts += [re.escape(line[end : match.start()]), _varying(match)]
        end = match.end()
    return re.compile("".join([*parts, re.escape(line[end:])]))


def _varying(match: re.Match[str]) -> str:
    if match["rest"]:
        return ".*"
    if match["decimal"]:
        return r"\d+\.\d+"
    return rf"\d[\d.,]*{re.escape(match['unit'])}" if match["number"] else r"\s+"
