"""A child process that fetches sources and returns results as they come."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

from prepare_models_entrypoint.contract import event as events
from prepare_models_entrypoint.contract.error_codes import LIMITS
from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.fetch import NO_PINS, FetchJob, FetchResult, Pins, Wanted

from ..errors import HostError, SourcesError
from ..support.page import OnBytes
from ..support.paths import contents_dir
from . import child
from .connection import ConnectionSpec

OnResult = Callable[[FetchResult], None]
OnEvent = Callable[[Event], None]


def counted(on_bytes: OnBytes) -> OnEvent:
    """Return an event handler that reports how many bytes of all sources have been fetched."""
    sizes: dict[str, tuple[int, int]] = {}

    def tell(event: Event) -> None:
        if event.kind == events.PROGRESS:
            sizes[str(event.data.get("source"))] = int(event.data["done"]), int(event.data["total"])
            on_bytes(*map(sum, zip(*sizes.values(), strict=True)))

    return tell


def fetch_sources(
    wanted: Iterable[tuple[ConnectionSpec, str, str | None]],
    *,
    on_event: OnEvent,
    offline: bool = False,
    pins: Pins = NO_PINS,
) -> dict[str, FetchResult]:
    """Fetch sources into the download store and return the result of each, by ``source_id``.

    A model's weights files are fetched with it, and have results of their own.

    ``wanted``: how each source is reached, the source, and the sha256 that it must have, or None. ``offline``: use only
    what is in the store. ``pins``: what a lock records about the sources and such weights.

    Raises:
        SourcesError: some failed; it has each with its reason.
    """
    by_network: dict[ConnectionSpec, dict[str, str | None]] = {}
    for network, source, sha256 in wanted:
        by_network.setdefault(network, {})[source] = sha256
    results: dict[str, FetchResult] = {}
    for network, sources in by_network.items():
        asked = tuple(Wanted(source=source, sha256=sha256) for source, sha256 in sources.items())
        job = FetchJob(sources=asked, cache_dir=str(contents_dir()), offline=offline, pins=pins)
        with Fetching(job, network, on_result=lambda _: None, on_event=on_event) as fetching:
            results.update({result["source_id"]: result for result in fetching.results()})
    failed = [(result["source"], result["error"]) for result in results.values() if result["error"] is not None]
    if failed:
        raise SourcesError(failed)
    return results


class Fetching:
    """Fetches in a separate process while the block runs.

    job: what to fetch; its network settings come from ``network``, with secrets. on_result: called with the result of
    each source. on_event: called with all other events of the child. started: the child; None: start one.
    """

    def __init__(
        self,
        job: FetchJob,
        network: ConnectionSpec,
        *,
        on_result: OnResult,
        on_event: OnEvent = lambda _: None,
        started: child.FetchChild | None = None,
    ) -> None:
        self._job, self._network = job, network
        self._on_result, self._on_event = on_result, on_event
        self._open = contextlib.ExitStack()
        self._child = started

    def __enter__(self) -> Fetching:  # noqa: PYI034  # Self is not in Python 3.10
        secrets = self._network.secrets()
        with contextlib.ExitStack() as stack:
            self._child = started = self._child or stack.enter_context(child.fetch_child())
            if secrets is not None:
                os.write(started.secrets, secrets.encode("utf-8"))
            file = None if secrets is None else child.path_of(started.secrets)
            job = replace(self._job, network=self._network.with_secrets(file))
            with contextlib.suppress(BrokenPipeError):  # it has ended, which ``results`` reports
                started.give(json.dumps(job.to_dict()))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def stop(self) -> None:
        """Ask the child to end, from another thread; ``results`` then ends, too."""
        self._running().process.terminate()

    def results(self) -> list[FetchResult]:
        """Wait for all sources.

        Raises:
            HostError: the child failed.
        """
        running, closed = self._running().process, False
        found: list[FetchResult] = []
        for line in running.stdout or ():
            event = Event.from_line(line.decode("utf-8"))
            closed = closed or event.kind == events.CLOSED
            if event.kind == events.SOURCE_FINISHED:
                result = cast("FetchResult", event.data)
                found.append(result)
                self._on_result(result)
            else:
                self._on_event(event)
        status = running.wait()
        if not closed:
            why, limit = self._final_error(), LIMITS[errno.ENOMEM]
            if status == -signal.SIGKILL or why == MemoryError.__name__:
                raise HostError(f"{limit.what} for a process that fetches", hint=limit.fix)
            raise HostError(f"the entrypoint ended with status {status}: {why}", hint="run again")
        return found

    def _running(self) -> child.FetchChild:
        if self._child is None:
            raise ValueError("call results() within the block")
        return self._child

    def _final_error(self) -> str:
        """Return the name of the child's final error, with its text only if a module is missing: it may have a key."""
        log = self._running().log
        log.seek(0)
        last = "".join(log.read().decode("utf-8", "replace").strip().splitlines()[-1:])
        kind = last.partition(":")[0]
        return last if kind in ("ModuleNotFoundError", "ImportError") else kind
