"""Runs the code blocks of pages as pytest items: ``pytest -p tests.docs.plugin README.md docs``.

The blocks of a page run in one fresh folder, in their order, against simulators of NGC and of Hugging Face's hub:

* ``console``: each command has to end as shown (``# exit status 1``), and to print what is shown below it.
* a block with ``title="NAME"`` is the file NAME: it is written, or compared where a command has written it.
* ``python`` without a title is run. ``yaml`` without a title is a part of a manifest and has to fit its schema,
  ``json`` has to be JSON.
* ``<!-- not run: REASON -->`` before a block leaves it out, and is listed with its reason at the end.
* ``<!-- run first: COMMAND -->`` makes what the reader has already; ``robot$ COMMAND`` makes it on another machine.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer

from tests.docs.belongings import ROOT
from tests.docs.manifests import judge
from tests.docs.page import Page
from tests.docs.servers import Servers

_INFO = re.compile(r'(?P<language>[\w-]*)(?: +title="(?P<title>[^"\n]+)")?[^\n]*\n')
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^\n]+) -->\s*\Z")
_DIAGRAM = "a diagram"


def _blocks(document: Document) -> Iterator[Region]:
    for region in RawFencedCodeBlockLexer(_INFO)(document):
        before = _NOT_RUN.search(document.text[: region.start])
        yield Region(region.start, region.end, parsed={**region.lexemes, "reason": before and before["reason"]},
                     evaluator=_evaluate)  # fmt: skip


def _preparations(document: Document) -> Iterator[Region]:
    for region in DirectiveInHTMLCommentLexer("run first")(document):
        yield Region(region.start, region.end, parsed=region.lexemes["arguments"], evaluator=_prepare)


def _prepare(example: Example) -> None:
    prompt = "" if "$ " in example.parsed else "$ "
    example.namespace["page"].console(f"{prompt}{example.parsed}\n")


def _evaluate(example: Example) -> None:
    block, page = example.parsed, example.namespace["page"]
    source = str(block["source"])
    if block["reason"]:
        pytest.skip(block["reason"])
    if block["title"]:
        page.file(block["title"], source)
        return
    ways: dict[str, Callable[[str], Any]] = {
        "console": page.console, "python": page.program, "yaml": judge, "json": json.loads,
    }  # fmt: skip
    if block["language"] not in ways:
        pytest.fail(f"say why not to run it, with <!-- not run: REASON --> before it:\n{source}", pytrace=False)
    ways[block["language"]](source)


def _open(namespace: dict[str, Any]) -> None:
    servers = Servers()
    namespace["servers"] = servers.__enter__()
    namespace["place"] = Path(tempfile.mkdtemp(prefix="page-"))
    namespace["page"] = Page(namespace["place"], servers.variables())


def _close(namespace: dict[str, Any]) -> None:
    namespace["page"].close()
    namespace["servers"].__exit__()
    shutil.rmtree(namespace["place"], ignore_errors=True)


pytest_collect_file = Sybil(
    parsers=[_blocks, _preparations], path=str(ROOT), pattern="*.md", setup=_open, teardown=_close
).pytest()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the blocks that were left out, and say which share ran."""
    ran = len(terminalreporter.stats.get("passed", [])) + len(terminalreporter.stats.get("failed", []))
    left = [report for report in terminalreporter.stats.get("skipped", []) if _DIAGRAM not in str(report.longrepr)]
    if ran + len(left):
        share = 100 * ran / (ran + len(left))
        terminalreporter.write_line(f"{ran} of {ran + len(left)} code blocks ran ({share:.0f} %); not run:")
    for report in left:
        terminalreporter.write_line(f"  {report.nodeid}: {report.longrepr[2]}")
