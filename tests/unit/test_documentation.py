"""Links of the documentation lead somewhere, llms.txt lists every page, and README's tables fit a code host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/prepare-models/prepare-models/"
RAW = "https://raw.githubusercontent.com/prepare-models/prepare-models/main/"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md")), ROOT / "docs/llms.txt",
]  # fmt: skip
_LINK = re.compile(r"\]\((?P<target>[^)\s#]*)(?:#(?P<anchor>[^)\s]*))?\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
WIDTH = 120  # characters of a table's row beside which GitHub and PyPI show a scroll bar


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of this repository that a page links to, each with the anchor."""
    for link in _LINK.finditer(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        target = link["target"].removeprefix(RAW)
        if target.startswith(REPOSITORY):
            target = re.sub(r"^(?:blob|tree)/main/", "", target.removeprefix(REPOSITORY))
        elif link["target"] == target and "://" not in target:
            yield (page.parent / target if target else page), link["anchor"] or ""
            continue
        if "://" not in target:
            yield ROOT / target, link["anchor"] or ""


def anchors(page: Path) -> set[str]:
    """Return the anchors that a code host gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    dead = [
        f"{file}#{anchor}" for file, anchor in links(page)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]  # fmt: skip
    assert not dead


def test_llms_txt_lists_every_page() -> None:
    listed = {file for file, _ in links(ROOT / "docs/llms.txt")}
    assert listed == {ROOT / "README.md", *(ROOT / "docs").rglob("*.md")}


def test_tables_of_the_readme_fit() -> None:
    text = re.sub(r"\]\([^)]*\)", "]", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [row for row in text.splitlines() if row.startswith("| ") and len(row) > WIDTH] == []
