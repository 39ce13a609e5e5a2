"""What a kind of source tells about its bytes, and how it hands them over."""

from __future__ import annotations

import codecs
from typing import ContextManager, Iterator, NamedTuple, Optional, Protocol

from ..errors import FetchError

SNIFFED = 512
HTML = "an HTML page"
_PAGES = ("html", "htm", "xhtml")
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta")
_MARKUP = (b"<?xml", b"<!--", b"<error")


class Promise(NamedTuple):
    """What is known of a file before its bytes come."""

    size: Optional[int] = None
    sha256: Optional[str] = None


class Body(NamedTuple):
    """Bytes on their way: they begin at ``start`` of a file of ``total`` bytes (None: unknown).

    ``validator``: ETag or date by which the server will know this content again. ``doubt``: the error that the headers
    amount to, where no digest tells better what the bytes are.
    """

    start: int
    total: Optional[int]
    validator: Optional[str]
    chunks: Iterator[bytes]
    doubt: Optional[FetchError] = None


class Remote(Protocol):
    """One remote file.

    licence: page with the terms that its owner set. revision: commit of a repository that was asked, once it is known.
    name: base name for a local copy. label: how messages call it, without secrets.
    key: what makes two sources the same, before a digest is known.
    listed: whether a list tells the size before the file is asked for.
    ranged: whether a part from the middle of the file may be asked for while others come.
    """

    name: str
    label: str
    key: str
    listed: bool
    ranged: bool
    licence: Optional[str]
    revision: Optional[str]

    def promise(self) -> Promise:
        """Ask what the server promises; kinds that can't tell promise nothing."""

    def mark(self, validator: Optional[str]) -> Optional[str]:
        """Return by what this content is known again later; ``validator`` came with its bytes."""

    def is_current(self, mark: Optional[str]) -> bool:
        """Ask whether a copy with this mark is what the server has now."""

    def open(self, offset: int, validator: Optional[str], end: Optional[int] = None) -> ContextManager[Body]:
        """Ask for the bytes from ``offset`` on, if the content still is the one of ``validator``.

        Args:
            offset: where the bytes begin.
            validator: the server's mark of the content that is here.
            end: where they end for a range; more may come than asked for.
        """

    def impostor(self, what: str) -> FetchError:
        """Return the error for an answer that is a page or a message in place of the file."""


class RangeLostError(FetchError):
    """What is here can't be continued: the download begins again."""

    def __init__(self, message: str) -> None:
        super().__init__("source-unreachable", message, hint="run again", retryable=True)


def not_the_file(label: str, what: str) -> FetchError:
    """Return the error for a page or a message that is the server's own."""
    return FetchError(
        "source-not-a-model",
        f"{label} answers with {what}, not with a model",
        hint="open the URL in a browser: it may be the page of the file, a login or an error",
    )


def intercepted(label: str, what: str, host: Optional[str]) -> FetchError:
    """Return the error for an answer that something between here and ``host`` gave."""
    return FetchError(
        "network-intercepted",
        f"{label} answers with {what}: most likely a proxy or captive portal answered",
        hint=f"sign in to the network with a browser, or let the proxy pass {host}; then run again",
        retryable=True,
    )


def told_by(head: bytes, name: str) -> Optional[str]:
    """Say what the first bytes of a file show it to be, where no model is that; None for anything else.

    Args:
        head: the first bytes, as many as ``SNIFFED`` where there are so many.
        name: the file's name; what says that it is a page or a document may be one.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    suffix = name.lower().rpartition(".")[2]
    if text.startswith(_HTML) or (text.startswith(_MARKUP) and b"<html" in text):
        return None if suffix in _PAGES else HTML
    if text.startswith(_MARKUP):
        return None if suffix in (*_PAGES, "xml", "svg") else "an XML document"
    if text.startswith((b'{"', b"{\n", b"{\r", b"{ ", b"{}")) and _is_utf8(head):
        return None if suffix.endswith("json") else "a JSON document"
    return None


def _is_utf8(head: bytes) -> bool:
    """Return whether the beginning of a file is text, as JSON is: any bytes may happen to start like it."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
