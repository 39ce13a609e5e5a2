"""The fetch stage: from a source to a verified local file. One module for each kind of source."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple, Optional, Tuple

from .. import sources
from ..contract.fetch import NO_PINS, Connection, Pins
from ..contract.files import sha256_file
from ..contract.source import Source, at_revision
from ..errors import FetchError
from ..sources.access import Access, access_of
from ..sources.body import Remote
from ..sources.local import check, refuse_pointer
from .cached import Downloads
from .content_store import store_of
from .digest import FileDigest
from .external import Weights, of_model, together
from .transfer import OnProgress, mismatch


class Fetched(NamedTuple):
    """A source on this machine's disk. ``digest`` is its sha256; for a local file it is computed when needed.

    ``fresh``: whether bytes came over the network now. ``promised``: who gave the digest (manifest, server, None).
    ``licence``: page with the terms of an NGC model. ``revision``: the commit of a repository.
    ``external``: the files with the weights of a model that came from elsewhere, each next to ``path``.
    """

    path: Path
    bytes: int
    digest: FileDigest
    pinned: bool
    fresh: bool = False
    promised: Optional[str] = None
    licence: Optional[str] = None
    revision: Optional[str] = None
    external: Tuple[Weights, ...] = ()


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
    pins: Pins = NO_PINS,
    remote: Optional[Remote] = None,
) -> Fetched:
    """Fetch ``source`` to a local file, with a model's external data from next to it.

    Args:
        source: an absolute path, ``file://``, ``https://``, ``ngc://org[/team]/model:version/file``, a URL of fsspec,
            or a member of an archive at one of these: ``archive.tar.gz!inner/path``.
        sha256: digest that the manifest pins; it is verified before this function returns.
        cache_dir: where downloads are kept.
        on_progress: called with ``done`` and ``total`` bytes of a download.
        network: how sources are reached.
        offline: use only what an earlier fetch left; there is no network.
        revalidate: whether to ask a server if a file fetched earlier without a pinned digest is still current.
        pins: what a lock records about the source, and about files with external data.
        copy_to: directory where the caller will put the file; its disk must have enough space before the first byte.
        remote: the file that ``source`` names, if the caller already has it.

    Raises:
        FetchError: the bytes can't be fetched, or are not the promised ones.
    """
    parsed = Source.of(source)
    if parsed.problem is not None:
        raise FetchError("source-not-found", f"{parsed.public} is not a source", hint=f"write {parsed.problem}")
    sha256 = sha256.lower() if sha256 else None
    if parsed.path is not None:
        refuse_pointer(check(parsed.path), str(parsed.path))
        return _local(parsed.path, sha256)
    access, store = access_of(network or Connection()), store_of(cache_dir)

    downloads = Downloads(store, access.retry_limits, access.streams, revalidate, on_progress, offline, copy_to, pins)
    fetched = _one(parsed, sha256, access, downloads, remote)
    weights = of_model(fetched, parsed, pins.sha256, lambda text, pin: _one(Source.of(text), pin, access, downloads))
    if not weights:
        return fetched
    path = together(fetched, weights, store) if copy_to is None else fetched.path
    return fetched._replace(path=path, external=weights, fresh=fetched.fresh or any(w.fetched.fresh for w in weights))


def _one(
    source: Source, sha256: Optional[str], access: Access, downloads: Downloads, remote: Optional[Remote] = None
) -> Fetched:
    """Fetch one file into the store."""
    if source.archive is not None:
        from ..sources.archive import fetch_member

        outer = source.archive
        fetched = fetch_member(lambda: _archive(outer, access, downloads), source, sha256=sha256, store=downloads.store)
        refuse_pointer(fetched.path, source.public)
        return fetched
    if remote is None:
        remote = remote_of(source, access, downloads.pins)
    got = downloads.get(remote, sha256)
    stored = got.stored
    refuse_pointer(stored.blob, remote.label)
    path = stored.path if downloads.copy_to is None else stored.blob
    return Fetched(
        path, stored.bytes, FileDigest(stored.sha256), sha256 is not None, got.fetched, got.promised,
        remote.licence, remote.revision,
    )  # fmt: skip


def _archive(source: Source, access: Access, downloads: Downloads) -> Fetched:
    if source.path is not None:
        return _local(check(source.path), None)
    return _one(source, None, access, downloads._replace(copy_to=None))


def remote_of(source: Source, access: Access, pins: Pins) -> Remote:
    """Return the remote file that a source names, at the revision in a lock.

    Raises:
        FetchError: it names a whole NGC version instead of a file.
    """
    kind = source.kind
    if kind is None:
        raise FetchError("source-not-found", f"{source.public} is not remote", hint="give the path of a file")
    module = importlib.import_module(f"{sources.__name__}.{kind.name}")
    remote: Remote = module.remote(at_revision(source.text, pins.revision.get(source.id)), access)
    return remote


def _local(path: Path, sha256: Optional[str]) -> Fetched:
    size = path.stat().st_size
    if sha256 is None:
        return Fetched(path, size, FileDigest(of=path), False)
    found = sha256_file(path)
    if found != sha256:
        raise mismatch(str(path), expected=sha256, found=found)
    return Fetched(path, size, FileDigest(found), True, promised="manifest")
