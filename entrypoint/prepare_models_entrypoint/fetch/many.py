"""Several sources at once, each with its own outcome."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from ..contract import event
from ..contract.fetch import FetchJob, FetchResult
from ..contract.files import sha256_file
from ..contract.source import local_path, member_of, public, scheme_of, source_id
from ..errors import FetchError, StageError, from_os_error
from ..events import Events
from . import Fetched, fetch
from .access import Access, access_of
from .deliver import deliver, tidy
from .digest import Digest
from .store import Store

_EVERY_S = 0.1


@dataclass(frozen=True)
class _Item:
    """One file to fetch. ``same``: what makes two sources the same file."""

    source: str
    sha256: Optional[str]
    name: str
    same: str


def fetch_all(job: FetchJob, events: Events) -> bool:
    """Fetch all sources of a job; return whether all went well."""
    return _Many(job, events).run()


class _Many:
    def __init__(self, job: FetchJob, events: Events) -> None:
        self._job, self._events = job, events
        self._cache_dir = Path(job.cache_dir)
        self._output = Path(job.output_dir) if job.output_dir else None
        self._good = True
        self._taken: Dict[str, str] = {}
        self._guard = threading.Lock()

    def run(self) -> bool:
        if self._output is not None:
            tidy(self._output, Store(self._cache_dir / "downloads"))
        items = [item for source, sha256 in self._job.sources for item in self._items(source, sha256)]
        with ThreadPoolExecutor(self._job.connections, thread_name_prefix="fetch") as pool:
            list(pool.map(self._one, items))
        return self._good

    def _items(self, source: str, sha256: Optional[str]) -> List[_Item]:
        try:
            return _expanded(source, sha256, access_of(self._job.network))
        except StageError as error:
            self._failed(source, error)
            return []

    def _claim(self, item: _Item) -> None:
        """Keep two different files from landing under one name."""
        with self._guard:
            owner = self._taken.setdefault(item.name, item.same)
        if owner != item.same:
            raise FetchError(
                "output-name-taken",
                f"{public(item.source)} and another source would both be {item.name} in {self._output}",
                hint="fetch one of them into another --output directory",
            )

    def _one(self, item: _Item) -> None:
        try:
            if self._is_in_place(item):
                return
            fetched = fetch(
                item.source,
                sha256=item.sha256,
                cache_dir=self._cache_dir,
                on_progress=_throttled(item.source, self._events),
                network=self._job.network,
                revalidate=self._job.revalidate,
                offline=self._job.offline,
            )
            self._finished(item, fetched, self._place(item, fetched))
        except StageError as error:
            self._failed(item.source, error)
        except OSError as error:
            self._failed(item.source, from_os_error(error))

    def _is_in_place(self, item: _Item) -> bool:
        """Tell whether the pinned bytes are in the output directory already, whatever the cache has."""
        target = self._output / item.name if self._output is not None else None
        if target is None or item.sha256 is None or not target.is_file() or sha256_file(target) != item.sha256:
            return False
        self._claim(item)
        fetched = Fetched(target, target.stat().st_size, Digest(item.sha256), pinned=True, promised="manifest")
        self._finished(item, fetched, target)
        return True

    def _place(self, item: _Item, fetched: Fetched) -> Path:
        if self._output is None:
            return fetched.path
        self._claim(item)
        stored = local_path(item.source) is None
        return deliver(fetched.path, self._output, item.name, Store(self._cache_dir / "downloads"), stored=stored)

    def _finished(self, item: _Item, fetched: Fetched, path: Path) -> None:
        self._tell(
            FetchResult(
                source=public(item.source),
                source_id=source_id(item.source),
                status="fetched" if fetched.fresh else "present",
                path=str(path),
                bytes=fetched.bytes,
                sha256=fetched.digest.result(),
                promised=fetched.promised,
                licence=fetched.licence,
                error=None,
            )
        )

    def _failed(self, source: str, error: StageError) -> None:
        self._good = False
        self._tell(
            FetchResult(
                source=public(source),
                source_id=source_id(source),
                status="failed",
                path=None,
                bytes=None,
                sha256=None,
                promised=None,
                licence=None,
                error=error.info("fetch"),
            )
        )

    def _tell(self, result: FetchResult) -> None:
        self._events.emit(event.SOURCE_FINISHED, stage="fetch", **result)


def _expanded(source: str, sha256: Optional[str], access: Access) -> List[_Item]:
    """Return the files that a source stands for: itself, or all files of a whole version of NGC."""
    member = member_of(source)
    if member is not None:
        return [_Item(source, sha256, member.path.rpartition("/")[2], source)]
    path = local_path(source)
    if path is not None:
        return [_Item(source, sha256, path.name, str(path))]
    if scheme_of(source) in ("ngc", "https", "http"):
        from .ngc import parse, versioned_files

        address = parse(source, api=access.ngc_api)
        if address is not None and address.file is None:
            files = versioned_files(address, access.ngc)
            return [_item(file.source(access.ngc_api), sha256, access) for file in files]
    return [_item(source, sha256, access)]


def _item(source: str, sha256: Optional[str], access: Access) -> _Item:
    from . import remote_of

    remote = remote_of(source, access)
    return _Item(source, sha256, remote.name, remote.key)


def _throttled(source: str, events: Events) -> Callable[[Dict[str, Any]], None]:
    last = [0.0]
    guard = threading.Lock()

    def tell(data: Dict[str, Any]) -> None:
        with guard:
            now = time.monotonic()
            if now - last[0] < _EVERY_S and data.get("done") != data.get("total"):
                return
            last[0] = now
        events.emit(event.PROGRESS, stage="fetch", source=public(source), **data)

    return tell
