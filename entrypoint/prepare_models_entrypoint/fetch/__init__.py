"""The fetch stage: from a source to a verified local file. One module for each kind of source."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from ..contract.files import sha256_file
from ..contract.source import SCHEMES, local_path, scheme_of
from ..errors import FetchError
from .file import check

OnProgress = Callable[[Dict[str, Any]], None]

_hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256")


@dataclass(frozen=True)
class Fetched:
    """A source on this machine's disk. ``digest`` is its sha256; for a local file it may still be in the making."""

    path: Path
    bytes: int
    digest: "Future[str]"
    pinned: bool


def fetch(
    source: str, *, sha256: Optional[str], cache_dir: Path, on_progress: OnProgress, offline: bool = False
) -> Fetched:
    """Bring the bytes of ``source`` to a local file.

    Args:
        source: an absolute path, ``file://``, ``https://`` (``http://``) or ``ngc://org[/team]/model:version/file``.
        sha256: digest that the manifest pins; it is verified before this function returns.
        cache_dir: where downloads are kept.
        on_progress: called with ``done`` and ``total`` bytes of a download.
        offline: take what an earlier download left; there is no network.

    Raises:
        FetchError: the bytes can't be had, or are not the promised ones.
    """
    path = local_path(source)
    if path is not None:
        return _local(check(path), sha256)
    scheme = scheme_of(source)
    if scheme not in SCHEMES:
        raise FetchError(
            "source-not-found",
            f"sources of the kind {scheme}:// are not supported",
            hint="use a path, file://, https:// or ngc://",
        )
    from .http import download
    from .ngc import url_of

    url = url_of(source) if scheme == "ngc" else source
    file, digest = download(
        url, downloads=cache_dir / "downloads", sha256=sha256, on_progress=on_progress, offline=offline
    )
    return Fetched(file, file.stat().st_size, _done(digest), sha256 is not None)


def _local(path: Path, sha256: Optional[str]) -> Fetched:
    size = path.stat().st_size
    if sha256 is None:
        return Fetched(path, size, _hashing.submit(sha256_file, path), False)
    found = sha256_file(path)
    if found != sha256.lower():
        raise mismatch(str(path), expected=sha256, found=found)
    return Fetched(path, size, _done(found), True)


def mismatch(what: str, *, expected: str, found: str) -> FetchError:
    """Return the error for bytes that are not the pinned ones."""
    return FetchError(
        "digest-mismatch",
        f"{what} has sha256 {found}, the manifest pins {expected.lower()}",
        hint="find out which of the two is right before you change the manifest's sha256",
    )


def _done(value: str) -> "Future[str]":
    future: "Future[str]" = Future()
    future.set_result(value)
    return future
