"""Several sources at once, each with its own result."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, TypedDict, TypeVar

from ..contract import downloads, event, external_data, schema
from ..contract.fetch import ExternalFile, FetchJob, FetchResult, Pins
from ..contract.files import sha256_file
from ..contract.source import Source
from ..errors import FetchError, StageError, from_os_error
from ..events import Events
from ..processes import die_with_parent, supervise_forks
from ..sources.access import Access, access_of
from ..sources.body import Promise, Remote
from ..sources.http import safe_name
from .content_store import key_of, store_of
from .deliver import deliver, tidy
from .digest import FileDigest
from .disk_space import check_both
from .fetch import Fetched, fetch, remote_of
from .part import progress_of
from .transfer import OnProgress, Progress

T = TypeVar("T")

_EVERY_S = 0.1
_LISTS_AT_ONCE = 8
_WORTH_A_PROCESS = 32  # files to fetch
_MOST_PROCESSES = 4
_OBTAINED = "obtained"  # event of a fork; data: ``_Obtained``


class _Item(NamedTuple):
    """One file to fetch. ``same``: what makes two sources the same file."""

    source: Source
    sha256: Optional[str]
    name: str
    same: str
    remote: Optional[Remote] = None


class _File(TypedDict):
    """A file that was obtained. ``location``: of weights, as their model names them; None for the file of an item."""

    source: str
    location: Optional[str]
    path: str
    bytes: int
    sha256: str
    fresh: bool
    promised: Optional[str]
    licence: Optional[str]
    revision: Optional[str]


class _Obtained(TypedDict):
    """One of an item's files: its weights come first, the file itself is the last."""

    item: int
    file: _File


def fetch_all(job: FetchJob, events: Events) -> bool:
    """Fetch all sources of a job; return whether all succeeded."""
    return _Many(job, events).run()


class _Many:
    def __init__(self, job: FetchJob, events: Events) -> None:
        self._job, self._events = job, events
        self._cache_dir = Path(job.cache_dir)
        self._output = Path(job.output_dir) if job.output_dir else None
        self._store = store_of(self._cache_dir)
        self._good = True
        self._guard = threading.Lock()
        self._taken: Dict[Path, str] = {}
        self._weights: Dict[int, List[_File]] = {}  # of items that forks have not finished

    def run(self) -> bool:
        if self._output is not None:
            self._output.mkdir(parents=True, exist_ok=True)
            tidy(self._output, self._store)
        items = [item for each in self._job.sources for item in self._items(Source.of(each.source), each.sha256)]
        if self._output is not None:
            items = self._without_clashes(items)
        if not self._job.offline:
            items = self._with_room(items)
        missing = 0 if self._job.offline else sum(map(self._is_missing, items))
        most = min(_MOST_PROCESSES, self._job.connections)
        processes = min(len(os.sched_getaffinity(0)), missing // _WORTH_A_PROCESS, most)
        if processes > 1:
            self._share_out(items, processes)
        else:
            self._all(self._one, items, self._job.connections)
        return self._good

    @staticmethod
    def _all(work: Callable[[T], None], items: Sequence[T], at_once: int) -> None:
        with ThreadPoolExecutor(at_once, "fetch") as pool:
            futures = [pool.submit(work, item) for item in items]
        for each in futures:
            each.result()  # a bug ends the process after the others are done

    def _share_out(self, items: List[_Item], processes: int) -> None:
        """Have forks of this process obtain the files: Python uses one processor, which small files keep busy."""
        access_of(self._job.network).web.disconnect()  # this also imports requests once for all of them
        at_once = self._job.connections // processes
        shares = [range(first, len(items), processes) for first in range(processes)]
        works = [functools.partial(self._work, items, share, at_once, os.getpid()) for share in shares]
        ended = supervise_forks(works, log=None, on_line=lambda line: self._heard(items, line), timeout_s=None)
        broken = [each for each in ended if each.exit_code != 0]
        failed = [each for each in broken if each.signal != signal.SIGKILL]  # after which the others are killed
        if failed:
            raise RuntimeError(f"a process that fetches ended with status {failed[0].exit_code}")
        if broken:
            raise MemoryError("a process that fetches was killed, as the kernel does when memory runs out")

    def _work(self, items: List[_Item], share: Sequence[int], at_once: int, parent: int, reports: int) -> int:
        """Obtain a share of the files in a fork."""
        die_with_parent(parent)
        self._events = Events(os.fdopen(reports, "w", buffering=1, encoding="utf-8"))

        def obtain(number: int) -> None:
            for file in self._obtained(items[number]):
                self._events.emit(_OBTAINED, **_Obtained(item=number, file=file))

        self._all(obtain, share, at_once)
        return 0

    def _heard(self, items: List[_Item], line: bytes) -> None:
        """Finish what a fork obtained, and pass on what else it reports."""
        heard = event.Event.from_line(line.decode("utf-8"))
        if heard.kind == _OBTAINED:
            found = schema.read(_Obtained, heard.data, heard.kind)
            files = self._weights.setdefault(found["item"], [])
            files.append(found["file"])
            if found["file"]["location"] is None:
                self._arrived(items[found["item"]], self._weights.pop(found["item"]))
        else:
            self._good = self._good and heard.kind != event.SOURCE_FINISHED
            self._events.emit(heard.kind, stage=heard.stage, **heard.data)

    def _is_missing(self, item: _Item) -> bool:
        """Return whether a file probably has to be fetched from a web server."""
        if item.source.scheme not in ("https", "http", "ngc"):
            return False
        return item.sha256 is None or not downloads.blob(self._store.root, item.sha256).exists()

    def _items(self, source: Source, sha256: Optional[str]) -> List[_Item]:
        found: List[_Item] = []
        with self._reported(source):
            found += _expanded(source, sha256, access_of(self._job.network), self._job.pins)
        return found

    def _without_clashes(self, items: List[_Item]) -> List[_Item]:
        """Refuse, before anything is fetched, different files that would get the same name."""
        named: Dict[str, List[_Item]] = {}
        for item in items:
            named.setdefault(item.name, []).append(item)
        for name, group in named.items():
            if _are_one_file(group):
                continue
            for item in group:
                others = ", ".join(sorted({other.source.public for other in group if other.same != item.same}))
                error = FetchError(
                    "output-name-taken",
                    f"{item.source.public} would be {name} in {self._output}, and so would {others}",
                )
                self._failed(item.source, error)
        return [item for item in items if _are_one_file(named[item.name])]

    def _with_room(self, items: List[_Item]) -> List[_Item]:
        """Refuse, before the first byte, files of listed sizes that don't fit on the disk together."""
        listed = [item for item in items if item.remote is not None and item.remote.listed and self._is_missing(item)]
        if len(listed) < 2:
            return items
        self._store.parts.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_LISTS_AT_ONCE) as pool:
            needs = dict(need for need in pool.map(self._need, listed) if need is not None)
        left, size = (sum(bytes_) for bytes_ in zip(*needs.values())) if needs else (0, 0)
        what = f"with {len(needs) - 1} more of this call"
        refused = []
        for item in listed:
            try:
                check_both(self._store.parts, self._output, left, size, what=f"{item.source.public}, {what},")
            except FetchError as error:
                self._failed(item.source, error)
                refused.append(item)
        return [item for item in items if item not in refused]

    def _need(self, item: _Item) -> Optional[Tuple[str, Tuple[int, int]]]:
        """Return the key of a listed file's part, its remaining bytes and its size in bytes; None if unknown."""
        try:
            promise = item.remote.promise() if item.remote is not None else Promise()
        except FetchError:
            return None  # reported when its turn comes
        if promise.size is None or item.remote is None:
            return None
        sha256 = item.sha256 or promise.sha256
        if sha256 is not None and downloads.blob(self._store.root, sha256).exists():
            return sha256, (0, promise.size)
        key = sha256 or key_of(item.remote.key)
        return key, (max(0, promise.size - progress_of(self._store.parts / f"{key}.part")[0]), promise.size)

    def _one(self, item: _Item) -> None:
        files = self._obtained(item)
        if files:
            self._arrived(item, files)

    def _obtained(self, item: _Item) -> List[_File]:
        """Fetch a file with its weights, unless it is in its place; nothing if that fails, which is reported."""
        files: List[_File] = []
        with self._reported(item.source):
            fetched = self._in_place(item) or fetch(
                item.source.text,
                sha256=item.sha256,
                cache_dir=self._cache_dir,
                on_progress=_throttled(item.source, self._events),
                network=self._job.network,
                revalidate=self._job.revalidate,
                offline=self._job.offline,
                copy_to=self._output,
                pins=self._job.pins,
                remote=item.remote,
            )
            files += [_file(each.source, each.fetched, each.location) for each in fetched.external]
            files.append(_file(item.source, fetched))
        return files

    def _arrived(self, item: _Item, files: Sequence[_File]) -> None:
        """Put a file and its weights in their places, and report them."""
        with self._reported(item.source):
            named: List[ExternalFile] = []
            for each in files:
                source, location = Source.of(each["source"]), each["location"]
                stored = location is not None or source.path is None
                path = self._placed(location or item.name, each, stored=stored)
                self._finished(source, each, path, [] if location else named)
                named += [ExternalFile(source_id=source.id, location=location)] if location else []

    @contextlib.contextmanager
    def _reported(self, source: Source) -> Iterator[None]:
        """Make a failure the result of one source; the others continue."""
        try:
            yield
        except StageError as error:
            self._failed(source, error)
        except OSError as error:
            self._failed(source, from_os_error(error))

    def _in_place(self, item: _Item) -> Optional[Fetched]:
        """Return the file in the output directory if it already has the pinned bytes, whatever the cache has."""
        target = self._output / item.name if self._output is not None else None
        if target is None or item.sha256 is None or not target.is_file():
            return None
        kept = self._store.find(item.sha256, item.name)
        linked = kept is not None and os.path.samefile(str(kept.blob), str(target))
        if not linked and sha256_file(target) != item.sha256:
            return None
        if item.source.path is None and external_data.locations(target):
            return None  # its weights have to be in place, too
        return Fetched(target, target.stat().st_size, FileDigest(item.sha256), pinned=True, promised="manifest")

    def _placed(self, name: str, file: _File, *, stored: bool) -> Path:
        """Put a file in its place in the output directory, unless another one took it in this call.

        ``name``: its path there; weights may have folders. ``stored``: whether the file is in the store.
        """
        if self._output is None:
            return Path(file["path"])
        target = self._output / name
        with self._guard:
            taken = self._taken.setdefault(target, file["sha256"])
        if taken != file["sha256"]:
            raise FetchError("output-name-taken", f"two different files would be {name} in {self._output}")
        if "/" in name:
            target.parent.mkdir(parents=True, exist_ok=True)
        return deliver(Path(file["path"]), target.parent, target.name, self._store, stored=stored)

    def _finished(self, source: Source, file: _File, path: Path, weights: List[ExternalFile]) -> None:
        known = {key: file[key] for key in ("bytes", "sha256", "promised", "licence", "revision")}
        self._emit(source, "fetched" if file["fresh"] else "present", path=str(path), external_data=weights, **known)

    def _failed(self, source: Source, error: StageError) -> None:
        self._good = False
        self._emit(source, "failed", error=error.info("fetch"))

    def _emit(self, source: Source, status: str, **known: Any) -> None:
        result = {"source": source.public, "source_id": source.id, "status": status, "external_data": [], **known}
        self._events.emit(
            event.SOURCE_FINISHED, stage="fetch", **{**dict.fromkeys(FetchResult.__annotations__), **result}
        )


def _file(source: Source, fetched: Fetched, location: Optional[str] = None) -> _File:
    return _File(
        source=source.text, location=location, path=str(fetched.path), bytes=fetched.bytes,
        sha256=fetched.digest.result(), fresh=fetched.fresh, promised=fetched.promised, licence=fetched.licence,
        revision=fetched.revision,
    )  # fmt: skip


def _are_one_file(items: List[_Item]) -> bool:
    pins = {item.sha256 for item in items}
    return len({item.same for item in items}) == 1 or (len(pins) == 1 and None not in pins)


def _expanded(source: Source, sha256: Optional[str], access: Access, pins: Pins) -> List[_Item]:
    """Return the files that a source means: itself, or all files of a whole NGC version."""
    if source.archive is not None:
        return [_Item(source, sha256, safe_name(source.inner.replace("\\", "/")), source.text)]
    if source.path is not None:
        return [_Item(source, sha256, safe_name(source.path.name), str(source.path))]
    if source.scheme in ("ngc", "https", "http"):
        from ..sources.ngc.address import parse

        address = parse(source.text, api=access.ngc_api)
        if address is not None and address.version is not None and address.file is None:
            from ..sources.ngc.source import versioned_files

            files = versioned_files(address, access.ngc)
            return [_item(Source.of(file.source(access.ngc_api)), sha256, access, pins) for file in files]
    return [_item(source, sha256, access, pins)]


def _item(source: Source, sha256: Optional[str], access: Access, pins: Pins) -> _Item:
    remote = remote_of(source, access, pins)
    return _Item(source, sha256, remote.name, remote.key, remote)


def _throttled(source: Source, events: Events) -> OnProgress:
    last = [time.monotonic()]  # a fetch shorter than this reports only its end

    def tell(data: Progress) -> None:
        now = time.monotonic()
        if now - last[0] >= _EVERY_S:
            last[0] = now
            events.emit(event.PROGRESS, stage="fetch", source=source.public, **data)

    return tell
