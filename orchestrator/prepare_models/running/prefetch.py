"""Downloads ahead of their turn: while one model is built, the next ones are fetched into the store.

The build's own fetch stage finds them there, or waits for the rest. It retries and reports what fails here.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prepare_models_entrypoint.contract.companions import has_engine
from prepare_models_entrypoint.contract.fetch import FetchJob, Pins, Wanted
from prepare_models_entrypoint.contract.source import Source

from ..errors import PrepareModelsError
from ..support.paths import contents_dir
from .connection import ConnectionSpec

if TYPE_CHECKING:
    from ..manifest.model import ModelSpec


class Fetcher(AbstractContextManager["Fetcher"], Protocol):
    """Fetches sources ahead of their turn, while its block runs."""

    def results(self) -> object:
        """Wait for all sources."""

    def stop(self) -> None:
        """End it, from another thread; ``results`` then ends, too."""


MakeFetcher = Callable[[FetchJob, ConnectionSpec], Fetcher]

_CONNECTIONS = 2  # few, so that the current model keeps its bandwidth


@contextlib.contextmanager
def fetching_ahead(
    specs: Sequence[ModelSpec], fetcher: MakeFetcher, *, models_dir: Path, force: bool
) -> Iterator[None]:
    """Fetch the remote sources of models whose turn comes later, in order, while the block runs.

    ``fetcher``: creates the fetcher of a job. A model that has an engine in ``models_dir`` waits for its own turn,
    unless existing engines are built again (``force``).
    """
    wanted = [spec for spec in specs if _sources(spec) and (force or not has_engine(models_dir / spec.label))]
    stop = threading.Event()
    running: list[Fetcher] = []
    guard = threading.Lock()

    def fetch(network: ConnectionSpec, group: list[ModelSpec]) -> None:
        sources = tuple(pair for spec in group for pair in _sources(spec))
        pins, cache = Pins.together(spec.pins for spec in group), str(contents_dir())
        job = FetchJob(sources=sources, cache_dir=cache, connections=_CONNECTIONS, revalidate=False, pins=pins)
        with contextlib.ExitStack() as stack:
            with guard:
                if stop.is_set():
                    return
                running.append(stack.enter_context(fetcher(job, network)))
            try:
                running[-1].results()
            finally:
                with guard:
                    running.pop()

    def work() -> None:
        for network, group in groupby(wanted, key=lambda spec: spec.network):
            with contextlib.suppress(PrepareModelsError, OSError, ValueError):
                fetch(network, list(group))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="fetch ahead", daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        with guard:
            for fetching in running:
                fetching.stop()
        if wanted:
            thread.join()


def _sources(spec: ModelSpec) -> list[Wanted]:
    pairs = [(spec.source, spec.sha256), (spec.calibration_cache, None)]
    return [Wanted(source=source, sha256=sha256) for source, sha256 in pairs if source and Source.of(source).is_remote]
