"""The fetch stage: from a source to a verified local file. One module for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional

from ..contract.connection import Connection
from ..contract.files import sha256_file
from ..contract.source import REMOTE_FILESYSTEMS, local_path, member_of, problem_of, public, scheme_of
from ..errors import FetchError
from ..sources.access import Access, access_of
from ..sources.body import Remote
from ..sources.local import check
from .content_store import store_of
from .digest import Digest
from .transfer import mismatch

OnProgress = Callable[[Dict[str, Any]], None]


class Fetched(NamedTuple):
    """A source on this machine's disk. ``digest`` is its sha256; for a local file it is computed when it is needed.

    ``fresh``: whether bytes came over the network now. ``promised``: who told the digest (manifest, server, None).
    ``licence``: page on which the terms of an NGC model stand.
    """

    path: Path
    bytes: int
    digest: Digest
    pinned: bool
    fresh: bool = False
    promised: Optional[str] = None
    licence: Optional[str] = None


def fetch(
    source: str,
    *,
    sha256: Optional[str],
    cache_dir: Path,
    on_progress: OnProgress,
    network: Optional[Connection] = None,
    revalidate: bool = False,
    offline: bool = False,
    copy_to: Optional[Path] = None,
) -> Fetched:
    """Bring the bytes of ``source`` to a local file.

    Args:
        source: an absolute path, ``file://``, ``https://``, ``ngc://org[/team]/model:version/file``, a URL of fsspec,
            or a member of an archive at one of these: ``archive.tar.gz!inner/path``.
        sha256: digest that the manifest pins; it is verified before this function returns.
        cache_dir: where downloads are kept.
        on_progress: called with ``done`` and ``total`` bytes of a download.
        network: how sources are reached.
        offline: take what an earlier fetch left; there is no network.
        revalidate: whether a server is asked if what an earlier run fetched, without a pinned digest, is current.
        copy_to: directory in which the caller gives the file its name; its disk must have room before the first byte.

    Raises:
        FetchError: the bytes can't be had, or are not the promised ones.
    """
    expected = problem_of(source)
    if expected is not None:
        raise FetchError("source-not-found", f"{public(source)} is no source", hint=f"write {expected}")
    sha256 = sha256.lower() if sha256 else None
    member = member_of(source)
    if member is not None:
        from ..sources.archive import fetch_member

        archive = lambda: fetch(  # noqa: E731  # shorter than a function, and used once
            member.archive, sha256=None, cache_dir=cache_dir, on_progress=on_progress,
            network=network, revalidate=revalidate, offline=offline,
        )  # fmt: skip
        return fetch_member(archive, member, sha256=sha256, store=store_of(cache_dir))
    path = local_path(source)
    if path is not None:
        return _local(check(path), sha256)
    from .cached import Obtain

    access = access_of(network or Connection())
    remote = remote_of(source, access)
    obtain = Obtain(store_of(cache_dir), access.patience, access.streams, revalidate, on_progress, offline, copy_to)
    got = obtain.obtain(remote, sha256)
    licence = getattr(remote, "licence", None)
    stored = got.stored
    path = stored.path if copy_to is None else stored.blob
    return Fetched(path, stored.bytes, Digest(stored.sha256), sha256 is not None, got.fetched, got.promised, licence)


def remote_of(source: str, access: Access) -> Remote:
    """Return the remote file that a source names.

    Raises:
        FetchError: it names a whole version of NGC and no file of it.
    """
    if scheme_of(source) in REMOTE_FILESYSTEMS:
        from ..sources.filesystem import FilesystemSource

        return FilesystemSource(source)
    from ..sources.http import HttpSource
    from ..sources.ngc.address import parse
    from ..sources.ngc.source import NgcSource

    address = parse(source, api=access.ngc_api)
    if address is None:
        return HttpSource(source, access)
    if address.file is None:
        raise FetchError(
            "source-not-found",
            f"{address} is a whole version, not a file",
            hint=f"add the file's name; see prepare-models ngc files {address.model}:{address.version}",
        )
    return NgcSource(address, access)


def _local(path: Path, sha256: Optional[str]) -> Fetched:
    size = path.stat().st_size
    if sha256 is None:
        return Fetched(path, size, Digest(of=path), False)
    found = sha256_file(path)
    if found != sha256:
        raise mismatch(str(path), expected=sha256, found=found)
    return Fetched(path, size, Digest(found), True, promised="manifest")
