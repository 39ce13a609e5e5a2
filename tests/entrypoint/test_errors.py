"""One table of codes: the source raises nothing else, leaves none unused, and the documentation lists them all."""

from __future__ import annotations

import ast
import errno
import os
import re
from pathlib import Path
from typing import Iterator, Set

import pytest

from prepare_models_entrypoint.contract.error_codes import ERRORS
from prepare_models_entrypoint.converters.messages import TABLES
from prepare_models_entrypoint.errors import CODES, StageError, from_os_error

from .children import ROOT

REPOSITORY = ROOT.parent
KINDS = {"StageError", "FetchError", "ConvertError", "InspectError"}


def modules(root: str) -> Iterator[ast.Module]:
    for path in sorted((REPOSITORY / root).rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"), str(path))


def raised() -> Set[str]:
    """Return the codes that stand as the first argument of a stage error."""
    return {
        node.args[0].value
        for module in modules("entrypoint")
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }


def said() -> Set[str]:
    """Return every text of the source and of known messages, but the keys of the table itself."""
    texts = {row.code for row in TABLES["builder"]}
    for path in (REPOSITORY / "orchestrator").rglob("*.py"):  # its grammar is newer than the oldest Python of this test
        texts |= set(re.findall(r'"([a-z0-9-]+)"', path.read_text(encoding="utf-8")))
    for module in modules("entrypoint"):
        keys = {
            id(key)
            for node in ast.walk(module)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "ERRORS"
            if isinstance(node.value, ast.Dict)
            for key in node.value.keys
        }
        texts |= {
            node.value
            for node in ast.walk(module)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys
        }
    return texts


def test_every_code_that_is_raised_is_in_the_table() -> None:
    assert len(raised()) > 20
    assert raised() <= set(CODES)


def test_every_code_of_the_table_is_used() -> None:
    assert set(CODES) - said() == set()


def test_the_documentation_lists_exactly_these_codes() -> None:
    text = (REPOSITORY / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert [code for code, _, _ in rows] == [
        code for where in ("model", "container", "bundle", "tool") for code in ERRORS if ERRORS[code].where == where
    ]
    assert all(meaning.strip() and action.strip() for _, meaning, action in rows)


def test_a_code_outside_the_table_can_not_be_raised() -> None:
    with pytest.raises(ValueError, match="no-such-code"):
        StageError("no-such-code", "message", hint="hint")


def test_an_error_tells_everything_in_a_report() -> None:
    error = StageError("disk-full", "no room", hint="make room", retryable=True)
    assert error.info("fetch") == {
        "code": "disk-full", "stage": "fetch", "message": "no room", "hint": "make room", "retryable": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EACCES, "output-not-writable"),
        (errno.EPERM, "output-not-writable"),
        (errno.EROFS, "output-not-writable"),
        (errno.ENOTDIR, "output-not-writable"),
        (errno.EEXIST, "output-not-writable"),
        (errno.EISDIR, "output-not-writable"),
        (errno.EIO, "output-not-writable"),
        (errno.EFBIG, "output-not-writable"),
        (errno.EOVERFLOW, "source-unreadable"),
        (errno.EMFILE, "out-of-memory"),
        (errno.EBADF, "internal"),
    ],
)
def test_a_refusal_of_the_operating_system_is_named_with_its_file(number: int, code: str) -> None:
    error = from_os_error(OSError(number, os.strerror(number), "/models/net"))
    assert error.code == code
    assert "/models/net" in error.message


def test_a_file_where_the_models_directory_should_be_is_no_bug_of_ours(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("in the way")
    with pytest.raises(OSError, match="net") as caught:
        (tmp_path / "net").mkdir(parents=True, exist_ok=True)
    assert from_os_error(caught.value).code == "output-not-writable"
