"""From a remote file to verified content in the store, at most once for all threads and processes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from ..contract.fetch import NO_PINS, Pins
from ..errors import FetchError
from ..sources.body import Promise, Remote
from .content_store import Store, Stored, key_of
from .history import FetchRecord
from .part import WORTH_A_NOTE, Part, progress_of
from .retries import RetryLimits
from .streams import Streams
from .transfer import Download, OnProgress, mismatch


class Content(NamedTuple):
    """Content of the store. ``fetched``: whether bytes came now. ``promised``: who gave the digest, if anyone."""

    stored: Stored
    fetched: bool
    promised: Optional[str]


class Downloads(NamedTuple):
    """What all fetches of a process share.

    ``streams``: the files being fetched.
    ``revalidate``: whether to ask the server if a file fetched earlier without a pinned digest is still current.
    ``offline``: whether to take only what is in the store. ``copy_to``: directory that receives the file later.
    ``pins``: what a lock records about sources.
    """

    store: Store
    retry_limits: RetryLimits
    streams: Streams
    revalidate: bool
    on_progress: OnProgress
    offline: bool = False
    copy_to: Optional[Path] = None
    pins: Pins = NO_PINS

    def get(self, remote: Remote, pinned: Optional[str]) -> Content:
        """Return the content of a remote file.

        Raises:
            FetchError: it can't be fetched, or is not the pinned or promised one.
        """
        present = self.store.find(pinned, remote.name) if pinned else None
        if present is not None:
            return Content(present, False, "manifest")
        key, began = key_of(remote.key), time.time()
        if self.offline:  # the store may be read-only then, so take no lock
            return self._recorded(remote, key, began) or self._absent(remote)
        with self.store.lock(key, self._waiting(key)):
            known = None if pinned else self._recorded(remote, key, began)
            return known or self._promised(remote, pinned, key)

    def _absent(self, remote: Remote) -> Content:
        raise FetchError(
            "source-not-found",
            f"{remote.label} is not in {self.store.root}, and this job may not use the network",
            hint="run the fetch stage first",
        )

    def _recorded(self, remote: Remote, key: str, began: float) -> Optional[Content]:
        """Return what an earlier run, or another process since ``began``, fetched from this source."""
        known = self.store.sources.recall(key)
        if known is None:
            return None
        stored = self.store.find(known["sha256"], remote.name)
        fresh = (known["at"] or 0.0) >= began
        if stored is None or (
            self.revalidate and not self.offline and not fresh and not remote.is_current(known["mark"])
        ):
            return None
        return Content(stored, False, known["promised"])

    def _promised(self, remote: Remote, pinned: Optional[str], key: str) -> Content:
        promise = remote.promise()
        if pinned and promise.sha256 not in (None, pinned):
            raise mismatch(f"{remote.label}, says its server,", expected=pinned, found=promise.sha256 or "")
        sha256 = pinned or promise.sha256
        promised = "manifest" if pinned else "server" if sha256 else None
        if sha256 is None:
            return self._download(remote, promise, key, key, promised)
        # Several sources may have the same content: the second one finds it.
        with self.store.lock(sha256, self._waiting(sha256)):
            present = self.store.find(sha256, remote.name)
            if present is not None:
                self._remember(remote, key, present, None, promised)
                return Content(present, False, promised)
            return self._download(remote, Promise(promise.size, sha256), key, sha256, promised)

    def _download(self, remote: Remote, promise: Promise, key: str, part_key: str, promised: Optional[str]) -> Content:
        path = self.store.parts / f"{part_key}.part"
        with Part.opened(path, resume_without_validator=promise.sha256 is not None) as part:
            download = Download(
                remote, part, promise, on_progress=self.on_progress, copy_to=self.copy_to, streams=self.streams
            )
            small = promise.size is not None and promise.size < WORTH_A_NOTE
            with contextlib.nullcontext() if small or key == part_key else self.store.pointing(key, part_key):
                sha256 = download.run(self.retry_limits)  # the pointer must end with the part, not after it
            if part.is_noted:
                part.forget_mark()  # first, so that the mark is never next to other bytes
            stored = self.store.adopt(path, sha256, remote.name)
            self._remember(remote, key, stored, part.validator, promised)
        return Content(stored, True, promised)

    def _remember(
        self, remote: Remote, key: str, stored: Stored, validator: Optional[str], promised: Optional[str]
    ) -> None:
        mark = remote.mark(validator)
        at = time.time()
        known = FetchRecord(source=remote.label, sha256=stored.sha256, mark=mark, promised=promised, at=at)
        self.store.sources.remember(key, known)

    def _waiting(self, key: str) -> Callable[[], None]:
        """Return a function that reports the progress of the process that this one waits for."""

        def tell() -> None:
            done, total = progress_of(self.store.parts / f"{self.store.pointed(key)}.part")
            if done:  # it has begun, and has not just ended
                self.on_progress({"phase": "download", "done": done, "total": total})

        return tell
