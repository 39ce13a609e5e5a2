"""Object stores and other file systems of fsspec, such as ``s3://bucket/model.onnx``."""

from __future__ import annotations

import contextlib
from typing import BinaryIO, Dict, Iterator, Mapping, Optional, Protocol

from ..contract import extras
from ..contract.source import Source
from ..errors import FetchError
from .access import Access
from .body import Body, Promise, Remote
from .http import safe_name

_CHUNK = 1 << 20
_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "created", "mtime")


class _Filesystem(Protocol):
    """The part of fsspec's file systems that is used here."""

    def info(self, path: str) -> Mapping[str, object]:
        """Return what is known about a file."""

    def open(self, path: str, mode: str) -> BinaryIO:
        """Open a file."""


class FilesystemSource(Remote):
    """A file of a remote file system. Credentials are found where the system's own tools find them."""

    def __init__(self, url: str) -> None:
        super().__init__(safe_name(url), Source.of(url).public, url)
        self._url = url
        self._info: Optional[Dict[str, object]] = None

    def promise(self) -> Promise:
        """Return the size that the file system reports."""
        size = self._told().get("size")
        return Promise(size if isinstance(size, int) else None)

    def mark(self, validator: Optional[str]) -> Optional[str]:
        """Return the file system's mark of the content."""
        return validator or self._mark()

    def is_current(self, mark: Optional[str]) -> bool:
        """Return whether the file system still reports this mark."""
        return mark is not None and mark == self._mark()

    @contextlib.contextmanager
    def open(self, offset: int, validator: Optional[str], end: Optional[int] = None) -> Iterator[Body]:
        """Open the file at ``offset``, or at the beginning if its content has changed."""
        del end  # ranges are not requested
        self._info = None
        mark, size = self._mark(), self.promise().size
        start = offset if offset and validator is not None and validator == mark else 0
        with self._translated():
            stream = self._filesystem().open(self._url, "rb")
            stream.seek(start)
        with contextlib.closing(stream):
            yield Body(start, size, mark, self._chunks(stream))

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        while True:
            with self._translated():
                chunk: bytes = stream.read(_CHUNK)
            if not chunk:
                return
            yield chunk

    def _told(self) -> Dict[str, object]:
        if self._info is None:
            with self._translated():
                self._info = dict(self._filesystem().info(self._url))
        return self._info

    def _mark(self) -> Optional[str]:
        info = self._told()
        return next((f"{key} {info[key]}" for key in _MARKS if info.get(key)), None)

    def _filesystem(self) -> _Filesystem:
        try:
            import fsspec

            found: _Filesystem = fsspec.filesystem(Source.of(self._url).scheme)
        except ImportError as error:
            lacking = extras.missing_filesystem(self.label, Source.of(self._url).scheme, error)
            raise FetchError("module-missing", lacking.message, hint=lacking.hint) from None
        return found

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FetchError("source-not-found", f"{self.label} does not exist", hint="check the URL") from None
        except PermissionError as error:
            raise FetchError(
                "source-refused", f"{self.label}: {error}", hint="check the credentials of this file system"
            ) from None
        except (OSError, TimeoutError) as error:
            raise FetchError(
                "source-unreachable", f"{self.label}: {error}", hint="check the network, then run again", retryable=True
            ) from None


def remote(source: str, access: Access) -> Remote:
    """Return the file that a source names."""
    del access  # fsspec needs none of it
    return FilesystemSource(source)
