"""Files under a URL: those of any file system that fsspec knows, and of any web server, which can only be read.

Small ones are read many at once, large ones in pieces. Each file system has failures of its own; here they are
SharedStoreErrors, but for a file that is not there.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import io
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prepare_models_entrypoint.contract import extras
from prepare_models_entrypoint.contract.files import PARTIAL
from prepare_models_entrypoint.contract.source import Source

from ..errors import ExtraMissingError, PrepareModelsError, SharedStoreError, UsageError

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 20
SMALL = 1 << 20  # bytes of the largest file that is read as a whole
_AT_ONCE = 32
_TIMES = ("LastModified", "last_modified", "updated", "mtime")  # by which file systems name it
_PATIENCE_S = 30.0
_WEB_TIMEOUT_S = (10.0, 60.0)  # to connect, and without a byte
_WEB_RETRIES = 4


class Listed(NamedTuple):
    """A file that is there. ``changed_at``: seconds since the epoch."""

    name: str
    bytes: int
    changed_at: float


def open_objects(url: str) -> Filesystem | _Web:
    """Return the files under a URL.

    Raises:
        UsageError: it is not a URL. ExtraMissingError: a module for this kind is missing.
    """
    scheme = Source.of(url).scheme
    if scheme is None:
        raise UsageError(
            f"{url!r} is not a URL", hint=f"for a directory of this machine: file://{os.path.abspath(url)}"
        )
    return _Web(url) if scheme in ("http", "https") else Filesystem(url, scheme)


class Filesystem:
    """Files by their names, which are relative paths. All methods may be called in several threads.

    read_only: whether nothing can be written, removed or listed.
    """

    read_only = False

    def __init__(self, url: str, kind: str) -> None:
        self._url, self._public = url, Source.of(url).public
        try:
            import fsspec

            # Object stores, which are asynchronous in fsspec, show a file when all of it is there; the others rename.
            self._is_atomic = bool(fsspec.get_filesystem_class(kind).async_impl)
            with contextlib.suppress(SharedStoreError):  # some connect at once; each use reports the failure
                _ = self._opened
        except ImportError as error:
            raise ExtraMissingError(extras.missing_filesystem(self._public, kind, error)) from None
        except ValueError as error:
            raise UsageError(f"{self._public}: {error}", hint="s3://bucket/prefix, for example") from None

    @functools.cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path of the URL in it. Connections are not reused: they may have ended."""
        import fsspec

        with self._failures(ImportError, ValueError):
            system, root = fsspec.url_to_fs(self._url, skip_instance_cache=not self._is_atomic)
        return system, root.rstrip("/")

    @property
    def _fs(self) -> Any:
        return self._opened[0]

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the content of small files; one that is not there is missing, one that is too large is cut short."""
        places = {self._place(name): name for name in names}
        if not places:
            return {}
        with self._failures():
            found: Mapping[str, Any] = self._fs.cat(
                list(places), on_error="return", start=0, end=SMALL, **self._patience(len(places))
            )
        there = {place: each for place, each in found.items() if not isinstance(each, FileNotFoundError)}
        again = {place: self._again(place) if isinstance(each, OSError) else each for place, each in there.items()}
        with self._failures():
            for failure in again.values():
                if isinstance(failure, Exception):
                    raise failure
        return {places[place]: content for place, content in again.items() if content is not None}

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a large file, or raise FileNotFoundError."""
        with self._failures(FileNotFoundError):
            stream = self._fs.open(self._place(name), "rb", block_size=4 * CHUNK)
        with contextlib.closing(stream):
            while True:
                with self._failures(FileNotFoundError):
                    chunk: bytes = stream.read(CHUNK)
                if not chunk:
                    return
                yield chunk

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, whole or not at all where the file system can, and see that all of it has arrived."""
        final, size = self._place(name), content.stat().st_size if isinstance(content, Path) else len(content)
        folder = final.rpartition("/")[0]
        place = final if self._is_atomic else f"{final}.{os.urandom(6).hex()}{PARTIAL}"
        with self._failures():
            if not self._is_atomic:
                self._fs.makedirs(folder, exist_ok=True)
            if isinstance(content, Path):
                self._fs.put_file(str(content), place)
            else:
                self._fs.pipe_file(place, content)
            if place != final:
                self._fs.mv(place, final)
            self._fs.invalidate_cache(folder)
            arrived = self._fs.info(final)["size"]
        if arrived != size:
            raise SharedStoreError(
                SharedStoreError.UNREACHABLE, f"{self._public}: {name} arrived with {arrived} of {size} bytes"
            )

    def listed(self, folder: str) -> list[Listed]:
        """Return the files in a folder."""
        place = self._place(folder)
        with self._failures():
            self._fs.invalidate_cache()
            try:
                # By default the others skip folders that can't be read, and gc would take what these name for unused.
                strict = {} if self._is_atomic else {"on_error": "raise"}
                found: Mapping[str, Mapping[str, Any]] = self._fs.find(place, detail=True, **strict)
            except FileNotFoundError:
                if self._fs.exists(place):  # something in it was removed meanwhile, so this is not all of it
                    raise
                return []
            return [
                Listed(path[len(self._place("")) :], int(each["size"]), self._changed_at(path, each))
                for path, each in found.items()
            ]

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is no failure."""
        with self._failures():
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(self._place(name))

    def _place(self, name: str) -> str:
        return f"{self._opened[1]}/{name}"

    def _again(self, place: str) -> bytes | None:
        """Return what a file holds that could not be read: some refuse to read a part of an empty one."""
        with contextlib.suppress(FileNotFoundError), self._failures(FileNotFoundError):
            if self._fs.info(place, **self._patience(1))["size"] == 0:
                return b""
            found: bytes = self._fs.cat_file(place, start=0, end=SMALL, **self._patience(1))
            return found
        return None

    def _patience(self, count: int) -> dict[str, float]:
        """Return how long a number of small files may take: a client may try for an hour where nothing answers."""
        return {"timeout": _PATIENCE_S + count * 0.1} if self._is_atomic else {}

    def _changed_at(self, path: str, facts: Mapping[str, Any]) -> float:
        """Return when a file was written; now where the file system does not say, so that it counts as new."""
        found = next((facts[name] for name in _TIMES if facts.get(name)), None)
        if found is None:
            with contextlib.suppress(NotImplementedError):
                found = self._fs.modified(path)
        if isinstance(found, str):
            found = dt.datetime.fromisoformat(found.replace("Z", "+00:00"))
        if isinstance(found, dt.datetime):
            return (found if found.tzinfo else found.replace(tzinfo=dt.timezone.utc)).timestamp()
        return float(found) if found is not None else time.time()

    @contextlib.contextmanager
    def _failures(self, *expected: type[Exception]) -> Iterator[None]:
        passed: tuple[type[Exception], ...] = (PrepareModelsError, *expected)
        try:
            yield
        except passed:
            raise
        except Exception as error:  # noqa: BLE001  # each file system has classes of its own for its failures
            raise SharedStoreError(SharedStoreError.UNREACHABLE, f"{self._public}: {_told(error)}") from None


class _Web:
    """The same of a web server, from which files can only be read."""

    read_only = True

    def __init__(self, url: str) -> None:
        import requests
        from urllib3.util.retry import Retry

        self._root, self._public = url.rstrip("/"), Source.of(url).public
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"
        retry = Retry(
            _WEB_RETRIES, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
        )
        for scheme in ("http://", "https://"):
            adapter = requests.adapters.HTTPAdapter(max_retries=retry, pool_maxsize=_AT_ONCE)
            self._session.mount(scheme, adapter)

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        wanted = list(names)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="shared store") as pool:
            found = dict(zip(wanted, pool.map(self._small, wanted), strict=True))
        return {name: content for name, content in found.items() if content is not None}

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._answer(name) as answer:
            yield from answer.iter_content(CHUNK)

    def write(self, name: str, content: bytes | Path) -> None:  # noqa: ARG002  # nothing is written
        raise io.UnsupportedOperation(name)

    def listed(self, folder: str) -> list[Listed]:
        del folder
        raise UsageError(
            f"{self._public}: a web server lists no files", hint="use the store's own URL, such as s3://..."
        )

    def remove(self, names: Iterable[str]) -> None:
        raise io.UnsupportedOperation(*names)

    def _small(self, name: str) -> bytes | None:
        try:
            with self._answer(name) as answer:
                content = b""
                for chunk in answer.iter_content(CHUNK):  # some servers send many small ones
                    content += chunk
                    if len(content) > SMALL:
                        break
                return content
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _answer(self, name: str) -> Iterator[requests.Response]:
        import requests

        try:
            with self._session.get(f"{self._root}/{name}", stream=True, timeout=_WEB_TIMEOUT_S) as answer:
                if answer.status_code in (404, 410):
                    raise FileNotFoundError(name)
                if answer.status_code != requests.codes.ok:
                    raise SharedStoreError(
                        SharedStoreError.UNREACHABLE, f"{self._public}: {name}: HTTP status {answer.status_code}"
                    )
                yield answer
        except requests.RequestException as error:
            raise SharedStoreError(SharedStoreError.UNREACHABLE, f"{self._public}: {_told(error)}") from None


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
