"""The contents of the cache directory, except for notes: listed, verified, pruned.

Engines are removed in their turn, never while a process builds or uses them; the files of a bundle only while nobody
holds them. A recently used download, finished or not, stays: a process may be using it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import downloads, schema, sizes
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import sha256_file
from prepare_models_entrypoint.contract.report import ModelReport, Origin
from prepare_models_entrypoint.contract.values import Value

from .. import bundle as bundles
from ..errors import UsageError
from ..signing.origins import label_of, untrusted
from ..support.file_digests import Digests
from ..support.paths import cache_dir
from .local import Entry, Store, open_store

ENGINE, DOWNLOAD, PART, BUNDLE, TIMING, LOG = KINDS = ("engine", "download", "part", "bundle", "timing", "log")
VERIFIED = (ENGINE, DOWNLOAD, BUNDLE)  # kinds whose bytes have digests here
_AT_IT_S = 3600.0


class Item(Value):
    """One thing in the cache. ``id``: build key, sha256 or name. ``used_at`` in epoch seconds."""

    kind: str
    id: str
    label: str
    bytes: int
    used_at: float
    path: Path
    record: ModelReport | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the record."""
        facts = ("kind", "id", "label", "bytes", "used_at")
        return {**{name: getattr(self, name) for name in facts}, "path": str(self.path)}


class Cache:
    """The cache under a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._downloads = root / "downloads"
        self._store = open_store(Digests())  # without remembered digests: verifying reads the files

    def items(self) -> list[Item]:
        """Return everything, most recently used first."""
        found = [
            *map(_engine, self._store.entries()),
            *self._contents(),
            *self._parts(),
            *self._bundles(),
            *self._files(),
        ]
        return sorted(found, key=lambda item: item.used_at, reverse=True)

    def problem(self, item: Item) -> str | None:
        """Read an item's bytes and return what is wrong with it, or None; always None for items without a digest."""
        if item.kind == ENGINE:
            entry = next((each for each in self._store.entries() if each.key == item.id), None)
            return "it is gone" if entry is None else self._store.problem(entry) or untrusted(entry.record)
        if item.kind == BUNDLE:
            return self._problem_of_bundle(item.path)
        if item.kind == DOWNLOAD:
            before = item.path.stat()
            whole = sha256_file(item.path) == item.id
            with contextlib.suppress(OSError):  # reading it here doesn't count as using it
                os.utime(item.path, ns=(before.st_atime_ns, before.st_mtime_ns))
            return None if whole else "it has changed since it was verified"
        return None

    def _problem_of_bundle(self, folder: Path) -> str | None:
        """Return what is wrong in the scope of a bundle, whose engines and downloads serve only the bundle, or None."""
        store = Store(folder / bundles.SCOPE / "engines", Digests())
        found = {entry.key[:16]: self._store.problem(entry) or _foreign(folder, entry) for entry in store.entries()}
        problems = [f"the engine {key}: {problem}" for key, problem in found.items() if problem is not None]
        blobs = downloads.blobs(folder / bundles.SCOPE / "downloads").glob("[!.]*")
        problems += [
            f"the download {blob.name[:16]} has changed since it was verified"
            for blob in blobs
            if sha256_file(blob) != blob.name
        ]
        return problems[0] if problems else None

    def remove(self, item: Item) -> bool:
        """Remove an item; return False if it is in use."""
        if item.kind == ENGINE:
            return self._store.remove(item.id)
        if item.kind in (DOWNLOAD, PART) and time.time() - item.used_at < _AT_IT_S:
            return False
        files = [item.path]  # what identifies it comes last
        if item.kind == PART:
            files = sorted(item.path.parent.glob(f"{item.id}.*"))
        elif item.kind == DOWNLOAD:
            files = [downloads.names(self._downloads, item.id), downloads.record(self._downloads, item.id), item.path]
        try:
            with bundles.alone(item.path) if item.kind == BUNDLE else contextlib.nullcontext():
                for path in files:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def prune(self, doomed: Iterable[Item]) -> list[Item]:
        """Remove items and return those that were removed."""
        return [item for item in doomed if self.remove(item)]

    def _contents(self) -> Iterator[Item]:
        """Yield downloads."""
        for blob in downloads.blobs(self._downloads).glob("[!.]*"):
            with contextlib.suppress(OSError):
                links = downloads.names(self._downloads, blob.name).glob("*")
                label = ", ".join(sorted(link.name for link in links if link.is_symlink())) or "a file"
                record, status = downloads.record(self._downloads, blob.name), blob.stat()
                used_at = record.stat().st_mtime if record.exists() else status.st_atime  # a small file has no record
                yield Item(DOWNLOAD, blob.name, label, status.st_size, used_at, blob)

    def _parts(self) -> Iterator[Item]:
        """Yield unfinished downloads, each with the files next to it."""
        found: dict[str, list[os.stat_result]] = {}
        for file in (self._downloads / "parts").glob("*"):
            with contextlib.suppress(OSError):
                found.setdefault(file.name.partition(".")[0], []).append(file.stat())
        for key, files in found.items():
            size, used_at = sum(file.st_size for file in files), max(file.st_mtime for file in files)
            place = self._downloads / "parts" / f"{key}.part"
            yield Item(PART, key, "unfinished download", size, used_at, place)

    def _bundles(self) -> Iterator[Item]:
        for folder in bundles.folders(self._root / bundles.FOLDER):
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                origin = _origin(folder)
                label = f"unpacked {label_of(origin)}" if origin else "unpacked bundle of an unknown signer"
                label = label if bundles.is_whole(folder) else "partly unpacked bundle"
                yield Item(BUNDLE, folder.name, label, size, folder.stat().st_mtime, folder)

    def _files(self) -> Iterator[Item]:
        for kind, pattern, label in (
            (TIMING, "timing/*.cache", "timing cache"),
            (LOG, "logs/*.log", "log of a build that failed"),
        ):
            for file in self._root.glob(pattern):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    yield Item(kind, file.stem, label, status.st_size, status.st_mtime, file)


def chosen(
    items: Sequence[Item], *, max_bytes: int | None = None, unused_s: float | None = None, kinds: Sequence[str] = KINDS
) -> list[Item]:
    """Return the items to prune, least recently used first.

    ``max_bytes``: how much of these kinds may stay. ``unused_s``: items not used for that long are removed in any case.
    """
    oldest_first = sorted((item for item in items if item.kind in kinds), key=lambda item: item.used_at)
    left, doomed, now = sum(item.bytes for item in oldest_first), [], time.time()
    for item in oldest_first:
        too_much = max_bytes is not None and left > max_bytes
        if too_much or (unused_s is not None and now - item.used_at > unused_s):
            doomed.append(item)
            left -= item.bytes
    return doomed


def _origin(folder: Path) -> Origin | None:
    """Return which bundle was unpacked into a folder, or None if unknown."""
    try:
        return schema.read(Origin, schema.load(folder / bundles.ORIGIN), "origin")
    except (OSError, ContractError):
        return None


def _foreign(folder: Path, entry: Entry) -> str | None:
    """Return that an engine in the scope of a bundle is not from that bundle, in words, or None."""
    ours, its = _origin(folder), entry.record["origin"]
    return None if ours and its and its["bundle"] == ours["bundle"] else "it does not belong to this bundle"


def _engine(entry: Entry) -> Item:
    identity = entry.record["identity"]
    if isinstance(identity, dict):
        made = f"{identity.get('backend')} {identity.get('backend_version')} for {identity.get('target')}"
        label = f"{entry.record['name']} {identity.get('precision')}, {made}"
        origin = entry.record["origin"]
        label += f", from {label_of(origin)}" if origin else ", built here"
    else:
        label = "an engine with a damaged record"
    return Item(ENGINE, entry.key, label, entry.bytes, entry.used_at, entry.plan.parent, entry.record)


VARIABLE = "PREPARE_MODELS_CACHE_LIMIT"


def limit() -> int | None:
    """Return the user's limit for the cache in bytes, or None without a limit.

    Raises:
        UsageError: the variable is not a size.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return None
    most = int(text) if text.isdecimal() and text.isascii() else sizes.size_of(text)
    if most is None:
        expected = f"{VARIABLE}: expected {sizes.EXPECTED}, found {text!r}"
        raise UsageError(expected, hint=f"{VARIABLE}={sizes.meant(text) or '20GiB'}, for example")
    return most


def keep_within_limit() -> None:
    """Prune the cache down to the user's limit, if there is one."""
    most = limit()
    if most is not None:
        cache = Cache(cache_dir())
        cache.prune(chosen(cache.items(), max_bytes=most))
