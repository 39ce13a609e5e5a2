"""What a kind of source says about its bytes, and how it delivers them."""

from __future__ import annotations

import codecs
from typing import ContextManager, Iterator, NamedTuple, Optional

from ..errors import FetchError

SNIFFED = 512
HTML = "an HTML page"
_PAGES = ("html", "htm", "xhtml")
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta")
_MARKUP = (b"<?xml", b"<!--", b"<error")


class Promise(NamedTuple):
    """What is known about a file before its bytes come."""

    size: Optional[int] = None
    sha256: Optional[str] = None


class Body(NamedTuple):
    """Incoming bytes, from ``start`` of a file of ``total`` bytes (None: unknown).

    ``validator``: ETag or date by which the server will recognize this content. ``doubt``: the error that the headers
    suggest, unless a digest proves the bytes right.
    """

    start: int
    total: Optional[int]
    validator: Optional[str]
    chunks: Iterator[bytes]
    doubt: Optional[FetchError] = None


class Remote:
    """One remote file. Kinds of sources override what differs from these defaults.

    licence: page with the terms that its owner set. revision: commit of the repository, once known.
    name: base name for a local copy. label: its name in messages, without secrets.
    key: equal for sources that are the same, before a digest is known.
    listed: whether a list has the size before the file is requested.
    ranged: whether a part from the middle may be requested while others are coming.
    """

    listed = ranged = False
    licence: Optional[str] = None
    revision: Optional[str] = None

    def __init__(self, name: str, label: str, key: str) -> None:
        self.name, self.label, self.key = name, label, key

    def promise(self) -> Promise:
        """Ask what the server promises: nothing, for kinds that can't tell."""
        return Promise()

    def mark(self, validator: Optional[str]) -> Optional[str]:
        """Return the mark that identifies this content later; ``validator`` came with its bytes."""
        return validator

    def is_current(self, mark: Optional[str]) -> bool:
        """Return whether a copy with this mark is what the server has now."""
        raise NotImplementedError

    def open(self, offset: int, validator: Optional[str], end: Optional[int] = None) -> ContextManager[Body]:
        """Request the bytes from ``offset`` on, if the content still matches ``validator``.

        Args:
            offset: where the bytes begin.
            validator: the server's mark of the content so far.
            end: where a range ends; more may come than requested.
        """
        raise NotImplementedError

    def impostor(self, what: str) -> FetchError:
        """Return the error for an answer that is a page or a message instead of the file."""
        return FetchError(
            "source-not-a-model",
            f"{self.label} answers with {what}, not with a model",
            hint="open the URL in a browser: it may be the page of the file, a login or an error",
        )


class RangeLostError(FetchError):
    """The bytes so far can't be continued: the download starts over."""

    def __init__(self, message: str) -> None:
        super().__init__("source-unreachable", message, hint="run again", retryable=True)


def intercepted(label: str, what: str, host: Optional[str]) -> FetchError:
    """Return the error for an answer from something between here and ``host``."""
    return FetchError(
        "network-intercepted",
        f"{label} answers with {what}: most likely a proxy or captive portal answered",
        hint=f"sign in to the network with a browser, or let the proxy pass {host}; then run again",
        retryable=True,
    )


def told_by(head: bytes, name: str) -> Optional[str]:
    """Return what a file is by its first bytes, if that can't be a model; None otherwise.

    Args:
        head: the first bytes, up to ``SNIFFED``.
        name: the file's name; a file named like a page or a document may be one.
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
    """Return whether the beginning of a file is text, like JSON: binary data may happen to start the same way."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
