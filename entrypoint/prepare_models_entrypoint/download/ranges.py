"""A large file from a server that limits each connection: ranges of it are fetched ahead on further connections.

The part stays a prefix of the file. Ranges are in separate files next to it, and are appended in order instead of bytes
from the network. Those left by a killed process are dropped: they are never more than a twentieth of the file.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Iterator, List, Optional

from ..errors import FetchError
from ..sources.body import RangeLostError, Remote
from .part import Part, write_all
from .streams import Streams

_LEAST = 128 << 20  # smallest file that is split, in bytes
_LEAST_S = 4.0  # seconds that one stream would still need
_LOOK_S = 0.5
_GROWTH = 1.3  # speed-up that ranges must reach
_SHARE = 128
_LARGEST = 8 << 20
_AHEAD = 6  # ranges, each at most a 128th of the file
_TRIES = 2  # the second with a newly signed URL
_READ = 1 << 20


class Split:
    """Decides whether a download continues in ranges, and yields their bytes.

    Args:
        remote: where the bytes come from.
        part: the prefix so far; it has the mark by which the server recognizes the content.
        streams: the downloads of this process.
        verified: whether a digest is known, which would reveal a mixture of two contents.
    """

    def __init__(self, remote: Remote, part: Part, streams: Streams, *, verified: bool) -> None:
        self._remote, self._part, self._streams, self._verified = remote, part, streams, verified
        self._ahead: Optional[_Ahead] = None
        self._given_up = not remote.ranged

    @property
    def goes_on(self) -> bool:
        """Return whether ranges continue where the part ends."""
        return self._ahead is not None and self._ahead.first == self._part.size

    def stream(self, chunks: Iterator[bytes], total: Optional[int]) -> Iterator[bytes]:
        """Yield the bytes of a stream that begins where the part ends, up to the first range if there is one."""
        at = seen = self._part.size
        began = looked = time.monotonic()
        for chunk in chunks:
            ahead, now = self._ahead, time.monotonic()
            if ahead is not None and at + len(chunk) >= ahead.first:
                ahead.judge()
                yield chunk[: ahead.first - at]
                return
            at += len(chunk)
            yield chunk
            if total is not None and ahead is None and now - looked >= _LOOK_S:
                if looked > began:  # a connection is slower at first
                    self._consider(at, total, (at - seen) / (now - looked))
                looked, seen = now, at

    def ranges(self) -> Iterator[bytes]:
        """Yield the bytes of the ranges in order, as far as they came."""
        if self._ahead is not None:
            yield from self._ahead.bytes()
            self._given_up = not self._ahead.complete
            self.close()

    def give_up(self) -> None:
        """Start no more ranges."""
        self._given_up = True

    def close(self) -> None:
        """Stop ranges in progress and remove their files."""
        if self._ahead is not None:
            self._ahead.end()
            self._ahead = None

    def _consider(self, at: int, total: int, rate: float) -> None:
        mark, spare = self._part.validator, self._streams.spare()
        known_again = self._verified or (mark is not None and mark.endswith('"'))
        if self._given_up or total < _LEAST or total - at < rate * _LEAST_S or spare < 2 or not known_again:
            return
        size = min(total // _SHARE, _LARGEST)
        first = at + max(2 * size, int(rate * _LOOK_S))
        self._ahead = _Ahead(self._remote, self._part, first, total, size=size, rate=rate)
        self._ahead.start(spare)


class _Range:
    """Bytes from ``start`` to before ``end``, of which ``came`` are in its file. ``done``: no more will come."""

    def __init__(self, start: int, end: int, path: Path) -> None:
        self.start, self.end, self.path = start, end, path
        self.file = path.open("wb", buffering=0)
        self.came, self.done = 0, False

    @property
    def whole(self) -> bool:
        return self.came == self.end - self.start


class _Ahead:
    """Ranges in progress. ``first``: where they begin.

    Args:
        size: bytes of a range.
        rate: bytes per second of the single stream before.
    """

    def __init__(self, remote: Remote, part: Part, first: int, total: int, *, size: int, rate: float) -> None:
        self._remote, self._part, self._mark = remote, part, part.validator
        self.first, self._next, self._total, self._size = first, first, total, size
        self._rate, self._began, self._before = rate, time.monotonic(), part.size
        self._ranges: List[_Range] = []
        self._change = threading.Condition()
        self._closed = self._ended = False

    @property
    def complete(self) -> bool:
        """Return whether the ranges reached the end of the file."""
        return self._next == self._total and not self._ranges

    def start(self, connections: int) -> None:
        """Fetch."""
        for _ in range(connections):
            threading.Thread(target=self._work, name="range", daemon=True).start()

    def judge(self) -> None:
        """Start no more ranges if all connections together are hardly faster than one was."""
        with self._change:
            came = self.first - self._before + sum(each.came for each in self._ranges)
            if came / (time.monotonic() - self._began) < _GROWTH * self._rate:
                self._close()

    def bytes(self) -> Iterator[bytes]:
        """Yield what came, without gaps."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._ranges[0].done if self._ranges else self._no_more())
                if not self._ranges:
                    return
                each = self._ranges[0]
            with each.path.open("rb", buffering=0) as file:
                yield from iter(lambda: file.read(_READ), b"")
            if not each.whole:
                return
            with self._change:
                each.path.unlink()
                self._ranges.pop(0)
                self._change.notify_all()

    def end(self) -> None:
        """Stop, and remove the files; a thread still waiting for its server notices later."""
        with self._change:
            self._ended = True
            self._close()
            for each in self._ranges:
                each.path.unlink()
            self._ranges = []

    def _close(self) -> None:
        self._closed = True
        self._change.notify_all()

    def _no_more(self) -> bool:
        return self._closed or self._next == self._total

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: len(self._ranges) < _AHEAD or self._no_more())
                if self._no_more():
                    return
                try:
                    each = self._begin()
                except OSError:
                    self._close()
                    return
            try:
                self._fetch(each)
            finally:
                with self._change:
                    each.done = True
                    if not each.whole:
                        self._close()
                    self._change.notify_all()

    def _begin(self) -> _Range:
        start, self._next = self._next, min(self._next + self._size, self._total)
        path = self._part.range_file(start)
        self._ranges.append(_Range(start, self._next, path))
        return self._ranges[-1]

    def _fetch(self, each: _Range) -> None:
        """Fetch a range; after a failure the file continues as one stream, which reports lasting errors."""
        with each.file:
            for _ in range(_TRIES):
                with contextlib.suppress(FetchError, OSError):
                    self._receive(each)
                if each.whole or self._ended:
                    return

    def _receive(self, each: _Range) -> None:
        at = each.start + each.came
        with self._remote.open(at, self._mark, each.end) as body:
            if body.start != at or body.total not in (None, self._total):
                raise RangeLostError("the server sends other bytes than the range")
            for chunk in body.chunks:
                wanted = chunk[: each.end - each.start - each.came]
                write_all(each.file, wanted)
                each.came += len(wanted)
                if self._ended or len(wanted) < len(chunk):
                    return
