"""Where statuses of many machines are: directories, globs, lists on web servers, object stores. Judged elsewhere."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urljoin

from prepare_models_entrypoint.contract import extras
from prepare_models_entrypoint.contract.files import read_small
from prepare_models_entrypoint.contract.source import Source

from ..errors import ExtraMissingError, UsageError
from .status_document import STATUS_FILE

LARGEST = 1 << 20  # bytes of a status, and of a list of them
_LISTED = 100_000  # statuses that one list may name
_TIMEOUT_S = (10, 30)  # to connect, and without a byte


class Found(NamedTuple):
    """A document that should be a status. name: its path or URL. read: returns its bytes, or raises OSError."""

    name: str
    read: Callable[[], bytes]


def find(place: str) -> Iterator[Found]:
    """Yield the documents of a directory, a glob, a file or a URL.

    Raises:
        UsageError: nothing is there.
        ExtraMissingError: the extra for this kind of URL is not installed.
        OSError: a server or a disk does not answer.
    """
    if re.match(r"https?://", place):
        return _on_the_web(place)
    return _in_a_filesystem(place) if "://" in place else _here(place)


def _here(place: str) -> Iterator[Found]:
    path = Path(place)
    if not path.is_dir():
        files = sorted(glob.glob(place, recursive=True))
    elif (path / STATUS_FILE).is_file():
        files = [str(path / STATUS_FILE)]
    else:
        files = sorted({*map(str, path.glob("*.json")), *map(str, path.rglob(STATUS_FILE))})
    if not files:
        there = path.exists() or glob.has_magic(place)
        raise UsageError(
            f"{place} " + ("has no status" if there else "does not exist"),
            hint=f"name a directory of *.json files, or one with {STATUS_FILE}",
        )
    for file in files:
        yield Found(file, partial(read_small, Path(file), largest=LARGEST))


def _on_the_web(url: str) -> Iterator[Found]:
    """Yield what is at a URL: a status, or those that a list names, as JSON or one on each line."""
    content = _get(url)
    if content.lstrip().startswith(b"{"):
        yield Found(url, lambda: content)
        return
    text = content.decode("utf-8", "replace")
    try:
        listed = json.loads(text) if text.lstrip().startswith("[") else text.split("\n")
    except (ValueError, RecursionError):
        raise UsageError(f"{url} is neither a status nor a list", hint="name a URL of a status, or of a list") from None
    lines = [line.strip() for line in listed[:_LISTED] if isinstance(line, str)]
    for line in lines:
        if line and not line.startswith("#"):
            each = _joined(url, line)
            yield Found(each, partial(_get, each))


def _joined(url: str, line: str) -> str:
    try:
        return urljoin(url, line)
    except ValueError:  # which _get says, too
        return line


def _get(url: str) -> bytes:
    import requests  # whose errors are OSErrors

    if not re.match(r"https?://", url):
        raise OSError(f"{url} is not a web address")
    with requests.get(url, stream=True, timeout=_TIMEOUT_S) as answer:
        answer.raise_for_status()
        content = b""
        for chunk in answer.iter_content(1 << 16):
            content += chunk
            if len(content) > LARGEST:
                raise OSError(f"more than {LARGEST} bytes")
    return content


def _in_a_filesystem(url: str) -> Iterator[Found]:
    """Yield the ``*.json`` files below a URL of an object store, or the one that it names."""
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ExtraMissingError(extras.missing_filesystem(url, Source.of(url).scheme, error)) from None
    except ValueError as error:  # a kind of URL that nobody knows
        raise UsageError(f"{url}: {error}", hint="name a directory, or an https:// or s3:// URL") from None
    files = [each for each in (system.glob(path) if "*" in path else system.find(path)) if each.endswith(".json")]
    if not files:
        raise UsageError(f"{url} has no status", hint="name a folder of *.json files")
    for file in sorted(files):
        yield Found(system.unstrip_protocol(file), partial(_read, partial(system.open, file, "rb")))


def _read(opened: Callable[[], BinaryIO]) -> bytes:
    with opened() as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"more than {LARGEST} bytes")
    return content
