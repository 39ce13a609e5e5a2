"""What a kind of source tells about its bytes, and how it hands them over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ContextManager, Iterator, Optional, Protocol

from ..errors import FetchError


@dataclass(frozen=True)
class Promise:
    """What is known of a file before its bytes come."""

    size: Optional[int] = None
    sha256: Optional[str] = None


@dataclass(frozen=True)
class Body:
    """Bytes on their way: they begin at ``start`` of a file of ``total`` bytes (None: unknown).

    ``validator``: ETag or date by which the server will know this content again.
    """

    start: int
    total: Optional[int]
    validator: Optional[str]
    chunks: Iterator[bytes]


class Remote(Protocol):
    """One remote file.

    name: base name for a local copy. label: how messages call it, without secrets.
    key: what makes two sources the same, before a digest is known.
    """

    name: str
    label: str
    key: str

    def promise(self) -> Promise:
        """Ask what the server promises; kinds that can't tell promise nothing."""

    def mark(self, validator: Optional[str]) -> Optional[str]:
        """Return by what this content is known again later; ``validator`` came with its bytes."""

    def is_current(self, mark: Optional[str]) -> bool:
        """Ask whether a copy with this mark is what the server has now."""

    def open(self, offset: int, validator: Optional[str]) -> ContextManager[Body]:
        """Ask for the bytes from ``offset`` on, if the content still is the one of ``validator``."""


class RangeLostError(FetchError):
    """What is here can't be continued: the download begins anew."""

    def __init__(self, message: str) -> None:
        super().__init__("source-unreachable", message, hint="run again", retryable=True)


def not_the_file(label: str, what: str) -> FetchError:
    """Return the error for an answer that is a page or a message in place of the file."""
    return FetchError(
        "source-not-a-model",
        f"{label} answers with {what}, not with a model",
        hint="open the URL in a browser: it may be a login page, an error, a proxy or a captive portal",
    )
