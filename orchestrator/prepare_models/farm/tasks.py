"""What a worker of a farm does with one model: a run of its own, whose engine goes to the shared store.

A worker's own environment has what a build needs besides the model: keys, tokens, credentials. None of it is sent.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from prepare_models_entrypoint.contract.event import PROGRESS, Event
from prepare_models_entrypoint.contract.report import ModelReport
from prepare_models_entrypoint.contract.values import Value

from ..errors import InterruptedRunError, PrepareModelsError, SharedStoreError
from ..executors.executor import Executor
from ..executors.work import failed
from ..manifest.load import NO_FILE
from ..manifest.model import Manifest, ModelSpec
from ..options import RunSettings, Sharing
from ..running import runner
from ..running.progress import Observer
from ..running.selection import Chosen
from ..support import paths
from ..support.os_errors import in_words
from . import cluster


class Order(Value):
    """One model to be built. ``key``: of the task. ``force``: whether an engine that the worker has is built again."""

    key: str
    spec: ModelSpec
    timeout_s: float | None
    force: bool


class Bench(Value):
    """What a worker builds with.

    executor: makes what builds. sharing: the shared store, to which engines go. observer: shows the work here.
    """

    name: str
    executor: Callable[[], Executor]
    sharing: Sharing
    observer: Observer


bench: Bench | None = None  # of this process, which is one worker; a task has nothing else to find it by
_at_work: dict[str, Executor] = {}
_guard = threading.Lock()


def build(order: Order) -> ModelReport:
    """Prepare one model, put its engine into the shared store and return its report."""
    if bench is None:
        raise RuntimeError("this process is not a worker of prepare-models")
    observer = _Telling(order.key, bench.observer)
    observer.event(Event(0, time.time(), PROGRESS, order.spec.name, "farm", {"phase": f"on {bench.name}"}))
    executor = bench.executor()
    with _guard:
        _at_work[order.key] = executor
    try:
        with in_words():
            report = _run(order, executor, bench.sharing, observer)
    except InterruptedRunError:
        cluster.give_up()
    except PrepareModelsError as error:
        return failed(order.spec, error.info())
    finally:
        with _guard:
            del _at_work[order.key]
    return report


def stop(keys: Sequence[str] | None = None) -> None:
    """End what this worker is at, if it is one of these tasks; None means whatever it is."""
    with _guard:
        doomed = [executor for key, executor in _at_work.items() if keys is None or key in keys]
    for executor in doomed:  # to wait for their ends is the tasks' business
        threading.Thread(target=executor.stop, name="stop").start()


class _Telling(Observer):
    """Tells the client what goes on, and shows it here, too."""

    def __init__(self, key: str, here: Observer) -> None:
        self._key, self._here = key, here

    def event(self, event: Event) -> None:
        """Tell."""
        cluster.tell(self._key, event.to_line())
        self._here.event(event)

    def finished(self, report: ModelReport) -> None:
        """Show."""
        self._here.finished(report)


def _run(order: Order, executor: Executor, sharing: Sharing, observer: Observer) -> ModelReport:
    """Return the report of a run of one model, which fails where its engine did not get to the shared store."""
    spec = order.spec
    with tempfile.TemporaryDirectory(prefix="prepare-models-farm-", dir=paths.make_cache()) as folder:
        chosen = Chosen(Manifest(NO_FILE, (spec,)), (spec,), executor)
        # Who sent the order has accepted the terms.
        settings = RunSettings(
            Path(folder), force=order.force, timeout_s=order.timeout_s, accept_eula=True, sharing=sharing
        )
        (report,) = runner.perform(chosen, settings, observer, started=time.time())["models"]
    for each in report["warnings"]:
        if each["code"] == SharedStoreError.UNREACHABLE:
            raise SharedStoreError(each["code"], each["message"], hint=each["hint"])
    return report
