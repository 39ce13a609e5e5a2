"""One file from a server to a verified part on the disk, whatever happens on the way."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Callable, Iterator, Optional, TypedDict

from ..errors import FetchError
from ..sources.body import SNIFFED, Body, Promise, RangeLostError, Remote, told_by
from .disk_space import check_both
from .part import Part
from .ranges import Split
from .retries import Effort, RetryLimits
from .streams import Streams


class Progress(TypedDict):
    """How far a download is: ``done`` of ``total`` bytes; ``total`` is 0 if unknown."""

    phase: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]

_STEP = 1 << 16
_WRITTEN_SOONER_THAN_ASKED = 1 << 20
_IMPOSTORS = ("source-not-a-model", "network-intercepted")


class Download:
    """A download in progress.

    Args:
        remote: where the bytes come from.
        part: where they go.
        promise: size and digest to verify, if known, including a pinned digest.
        on_progress: called with ``done`` and ``total`` bytes.
        copy_to: directory that receives the file later.
        streams: the files that this process is fetching.
    """

    def __init__(
        self,
        remote: Remote,
        part: Part,
        promise: Promise,
        *,
        on_progress: OnProgress,
        copy_to: Optional[Path],
        streams: Streams,
    ) -> None:
        self.remote, self.part, self.promise, self.on_progress = remote, part, promise, on_progress
        self.copy_to, self.streams, self.stream = copy_to, streams, object()
        self.mismatches = self.furthest = 0
        self.resumed = False
        self.doubt: Optional[FetchError] = None

    def run(self, retry_limits: RetryLimits) -> str:
        """Fetch all bytes into the part and return their sha256.

        Raises:
            FetchError: they can't be fetched, or are not the promised ones.
        """
        effort = Effort(retry_limits)
        split = Split(self.remote, self.part, self.streams, verified=self.promise.sha256 is not None)
        self.furthest = self.part.size
        with self.streams.one() as self.stream, contextlib.closing(split):
            return effort.run(lambda: self._attempt(effort, split))

    def _attempt(self, effort: Effort, split: Split) -> str:
        part, size = self.part, self.promise.size
        if size is not None and part.size > size:
            part.restart()
        if size is None or part.size < size or size == 0:
            try:
                while not self._came(split, effort):
                    pass  # the ranges ended before the file
            except RangeLostError:
                part.restart()
                raise
            except FetchError as error:
                # a file is promised, so the next try may no longer get a page instead
                error.retryable = error.retryable or (size is not None and error.code in _IMPOSTORS)
                raise
        return self._verified(split)

    def _came(self, split: Split, effort: Effort) -> bool:
        """Receive one stream and the ranges after it; return whether the file is complete."""
        split.close()  # of the previous try
        with self.remote.open(self.part.size, self.part.validator) as body:
            self.doubt = None
            self._question(body.doubt, body)
            total = self._begin(body)
            stream = iter(body.chunks) if self.part.size else self._begun(body)
            self._take(split.stream(stream, total), total, effort)
        if split.goes_on:
            self.resumed = True
            self._take(split.ranges(), total, effort)
            return self.part.size == total
        if total is not None and self.part.size < total:
            if self.part.size == body.total:
                self.part.restart()
                raise self._other_size(f"{body.total} bytes", total)
            raise self._broken(f"{self.part.size} of {total} bytes arrived")
        return True

    def _begin(self, body: Body) -> Optional[int]:
        """Prepare the part for the bytes of a body, and return the size of the whole file."""
        part, total = self.part, self._total(body)
        if body.start != part.size:
            part.restart()
        self.resumed = part.size > 0
        part.mark(body.validator, total)
        self._check_room(total)
        return total

    def _take(self, chunks: Iterator[bytes], total: Optional[int], effort: Effort) -> None:
        part = self.part
        for chunk in chunks:
            if total is not None and part.size + len(chunk) > total:
                part.restart()
                raise self._other_size(f"more than {total} bytes", total)
            part.append(chunk)
            if part.size >= self.furthest + (_STEP if total is None else min(_STEP, total // 50 + 1)):
                self.furthest = part.size  # the same bytes again, or a few of very many, are not progress
                effort.progress()
            self.on_progress({"phase": "download", "done": part.size, "total": total or 0})

    def _total(self, body: Body) -> Optional[int]:
        """Return the size of the whole file; for a continued body, the server's size must be the promised one."""
        promised = self.promise.size
        if promised is None:
            return body.total
        if body.start and body.total is not None and body.total != promised:
            self.part.restart()
            raise self._other_size(f"{body.total} bytes", promised)
        return promised

    def _check_room(self, total: Optional[int]) -> None:
        if total is None or total < _WRITTEN_SOONER_THAN_ASKED:
            return
        folder, label = self.part.path.parent, self.remote.label
        self.streams.admit(
            self.stream,
            lambda: total - self.part.size,
            lambda left: check_both(folder, self.copy_to, left, total, what=label),
        )

    def _begun(self, body: Body) -> Iterator[bytes]:
        """Yield the chunks of a file, after checking that its first bytes are not a page or message instead."""
        chunks, head = iter(body.chunks), b""
        while len(head) < SNIFFED:
            chunk = next(chunks, None)
            if chunk is None:
                break
            head += chunk
        what = told_by(head[:SNIFFED], self.remote.name)
        self._question(None if what is None else self.remote.impostor(what), body)
        if head:
            yield head
        yield from chunks

    def _question(self, doubt: Optional[FetchError], body: Body) -> None:
        """Refuse what doesn't look like the file, unless a digest will decide."""
        if doubt is None:
            return
        if self.promise.sha256 is None or self.promise.size not in (None, body.total):
            raise doubt
        self.doubt = doubt if self.promise.size is None else None

    def _verified(self, split: Split) -> str:
        part, found = self.part, self.part.sha256()
        if part.size == 0 and self.promise.size != 0:
            raise FetchError("source-not-a-model", f"{self.remote.label} is empty", hint="check the source")
        expected = self.promise.sha256
        if expected is not None and found != expected:
            part.restart()
            split.give_up()  # a range may have been wrong
            self.mismatches += 1
            if self.doubt is not None:
                raise self.doubt
            # Retry if bytes of two tries were joined, or if the server's own list says that it has the right ones.
            again = self.mismatches == 1 and (self.resumed or self.promise.size is not None)
            raise mismatch(self.remote.label, expected=expected, found=found, retryable=again)
        return found

    def _broken(self, what: str) -> FetchError:
        return FetchError(
            "source-unreachable",
            f"{self.remote.label}: {what}",
            hint="check the network, then run again: what arrived is kept, and the download resumes",
            retryable=True,
        )

    def _other_size(self, found: str, promised: int) -> FetchError:
        return FetchError(
            "digest-mismatch",
            f"{self.remote.label}: the server sends {found} where it promised {promised}",
            hint="try again later: the file may just have been replaced",
            retryable=True,
        )


def mismatch(what: str, *, expected: str, found: str, retryable: bool = False) -> FetchError:
    """Return the error for bytes that are not the promised ones."""
    return FetchError("digest-mismatch", f"{what} has sha256 {found}, expected {expected.lower()}", retryable=retryable)
