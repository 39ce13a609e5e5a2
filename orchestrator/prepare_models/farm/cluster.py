"""Dask's distributed, which nothing else here imports: a client of a farm, and a worker.

The scheduler restarts a task whose worker is lost, keeps one whose client is gone, and runs equal ones once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from prepare_models_entrypoint.contract import extras, schema
from prepare_models_entrypoint.contract.codec import ContractError

from ..docker.address import is_local
from ..errors import ExtraMissingError, FarmError
from ..options import FarmOptions
from .member import Introduction, Member

if TYPE_CHECKING:
    import distributed

_SAID = "prepare_models"  # a worker's introduction among what the scheduler knows of it
_TOPIC = "prepare-models"
_CONNECT_S = 10.0
_LOOK_S = 5.0
_PATIENCE_S = 60.0  # for a class whose last worker is gone: a new one may be starting
_ATTEMPTS = 3  # of a task whose connection was lost
# By default an idle worker wakes up 50 times a second, and profiles its threads 100 times a second.
_QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}


def version() -> str:
    """Return the version of distributed.

    Raises:
        ExtraMissingError: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise ExtraMissingError(extras.missing("a farm", "farm", error)) from None
    return str(distributed.__version__)


def _security(options: FarmOptions) -> distributed.Security:
    from distributed import Security

    if options.tls_ca is None:
        return Security()
    own = {
        f"tls_{role}_{part}": str(file)
        for role in ("client", "worker")
        for part, file in (("cert", options.tls_cert), ("key", options.tls_key))
    }
    return Security(tls_ca_file=str(options.tls_ca), require_encryption=True, **own)


class Want(NamedTuple):
    """A task. ``key``: of several with one key, one is done. ``priority``: the highest comes first."""

    key: str
    device: str
    priority: int


class Cluster:
    """A client's connection to a farm. Several threads may use it.

    Raises:
        UsageError: the address can't be used. ExtraMissingError: distributed is missing.
        FarmError: nothing answers there.
    """

    def __init__(self, options: FarmOptions) -> None:
        self.address = options.address()
        version()
        from distributed import Client

        class Returning(Client):  # type: ignore[misc]  # distributed has no types
            async def _reconnect(self) -> None:
                # Under its old name, the scheduler may send it events before the greeting, or remove it again along
                # with the broken connection: then it would be connecting for ever.
                self.id = f"prepare-models-{uuid.uuid4()}"
                await super()._reconnect()

        try:
            self._client = Returning(
                self.address,
                security=_security(options),
                set_as_default=False,
                timeout=_CONNECT_S,
                name="prepare-models",
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise FarmError("farm-unreachable", f"no scheduler answers at {self.address}: {_told(error)}") from None
        self._heard: dict[str, queue.SimpleQueue[str | None]] = {}
        self._tasks: dict[str, distributed.Future] = {}
        self._guard = threading.Lock()
        self.stopped = False
        self._members: tuple[float, list[Member]] = (0.0, [])

    def version(self) -> str:
        """Return the version of distributed that the scheduler has."""
        return str(self._client.sync(self._client.scheduler.versions)["packages"]["distributed"])

    def members(self) -> list[Member]:
        """Return the workers that are there now, or were a moment ago."""
        with self._guard:
            asked_at, found = self._members
            if time.monotonic() - asked_at > _LOOK_S:
                info = self._client.scheduler_info(n_workers=-1)["workers"]
                found = [member for each in info.values() if (member := _member(each)) is not None]
                self._members = time.monotonic(), found
        return found

    def knows(self, key: str) -> bool:
        """Return whether a task is under way, or its result is kept for a client that is gone."""
        return key in self._client.list_datasets()

    def perform(self, work: Callable[..., object], order: object, want: Want, on_line: Callable[[str], None]) -> Any:
        """Have a worker of a device class do some work, and return what it returned, None where ``stop`` was called.

        ``work``: a function of a module, called with ``order``. ``want``: the task that this becomes. ``on_line``:
        hears what the worker tells; called in this thread.

        Raises:
            FarmError: the workers that tried it died, all workers of the class are gone, or the scheduler is.
        """
        from distributed import KilledWorker

        try:
            result, failure = self._outcome(work, order, want, on_line)
        finally:
            with self._guard:
                self._heard.pop(want.key, None)
                self._tasks.pop(want.key, None)
            with contextlib.suppress(*_broken()):
                self._client.unpublish_dataset(want.key)
        if isinstance(failure, KilledWorker):
            message = f"{failure.allowed_failures + 1} workers of {want.device} were lost while they worked on it"
            raise FarmError("farm-worker-lost", message)
        if failure is not None:
            raise failure
        return result

    def stop(self) -> None:
        """Cancel what this client waits for, also what a worker is at."""
        from . import tasks

        with self._guard:
            self.stopped = True
            futures, heard = dict(self._tasks), list(self._heard.values())
        with contextlib.suppress(*_broken()):  # a scheduler that is gone has no tasks
            self._client.cancel(list(futures.values()), force=True)
            self._client.run(tasks.stop, list(futures), on_error="ignore")
        for lines in heard:
            lines.put(None)

    def _outcome(
        self, work: Callable[..., object], order: object, want: Want, on_line: Callable[[str], None]
    ) -> tuple[Any, BaseException | None]:
        """Return what a task returned and what it raised; it is joined again where the connection broke."""
        for _ in range(_ATTEMPTS):
            task = self._submit(work, order, want)
            if task is not None:
                self._listen(want, on_line)
            if self.stopped:
                return None, None
            with contextlib.suppress(*_broken()):
                if task is not None and task.status == "error":
                    return None, task.exception(timeout=_CONNECT_S)
                if task is not None:
                    return task.result(timeout=_CONNECT_S), None
            self._reconnected()  # or another client cancelled it
        raise FarmError("farm-lost", f"the connection to {self.address} broke {_ATTEMPTS} times")

    def _submit(self, work: Callable[..., object], order: object, want: Want) -> distributed.Future | None:
        """Return a task that a worker will do, None where the connection is broken or ``stop`` was called."""
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with contextlib.suppress(*_broken()):
            with self._guard:
                if self.stopped:
                    return None
                self._heard[want.key] = lines
                self._client.subscribe_topic(_TOPIC, self._hear)
                needs = {_resource(want.device): 1}
                task = self._tasks[want.key] = self._client.submit(
                    work, order, key=want.key, pure=False, resources=needs, priority=want.priority
                )
            # So it goes on, and its result is kept, when this client is gone.
            self._client.publish_dataset(task, name=want.key, override=True)
            task.add_done_callback(lambda _: lines.put(None))
            return task
        return None

    def _listen(self, want: Want, on_line: Callable[[str], None]) -> None:
        """Pass on what is told of a task until it ends.

        Raises:
            FarmError: there is no worker for it any more.
        """
        lines, seen_at = self._heard[want.key], time.monotonic()
        while True:
            try:
                line = lines.get(timeout=_LOOK_S)
            except queue.Empty:
                if self._has(want.device):
                    seen_at = time.monotonic()
                elif time.monotonic() - seen_at > _PATIENCE_S:
                    raise FarmError("farm-target-absent", f"the last worker of {want.device} is gone") from None
                continue
            if line is None:
                return
            on_line(line)

    def _has(self, device: str) -> bool:
        """Return whether a class has workers, also while nobody can be asked."""
        with contextlib.suppress(*_broken()):
            return any(member.said["device"] == device for member in self.members())
        return True

    def _hear(self, event: tuple[float, tuple[str, str]]) -> None:
        key, line = event[1]
        lines = self._heard.get(key)
        if lines is not None:
            lines.put(line)

    def _reconnected(self) -> None:
        """Wait until the connection is there again.

        Raises:
            FarmError: it does not come back.
        """
        deadline = time.monotonic() + 2 * _CONNECT_S  # it gives up by itself after half of that
        while self._client.status == "connecting" and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._client.status != "running":
            raise FarmError("farm-lost", f"the scheduler at {self.address} no longer answers")


def serve(
    options: FarmOptions,
    said: Introduction,
    *,
    name: str,
    folder: Path,
    ready: Callable[[], None],
    stop: Callable[[], None],
) -> None:
    """Work for a farm, one task at a time, until a signal ends it.

    ``said``: what this worker reports about itself. ``folder``: for Dask's own files. ``ready``: called when the
    scheduler knows this worker. ``stop``: ends what is under way, from another thread.

    Raises:
        FarmError: there is no scheduler, or it is gone.
    """
    scheduler = options.address()

    async def work() -> bool:
        import dask
        from distributed import Worker

        dask.config.set(_QUIET)
        loop, ended = asyncio.get_running_loop(), False
        async with Worker(
            scheduler, nthreads=1, name=name, security=_security(options), resources={_resource(said["device"]): 1},
            startup_information={_SAID: lambda _: json.dumps(said)}, local_directory=str(folder), memory_limit=0,
            host="127.0.0.1" if is_local(scheduler) else None, dashboard_address="127.0.0.1:0",
            death_timeout=_CONNECT_S,
        ) as worker:  # fmt: skip

            def end() -> None:
                nonlocal ended
                ended = True
                stop()
                loop.create_task(worker.close(reason="stopped by a signal"))

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, end)
            ready()
            await worker.finished()
        return ended

    try:
        ended = asyncio.run(work())
    except (OSError, TimeoutError) as error:
        raise FarmError("farm-unreachable", f"no scheduler answers at {scheduler}: {_told(error)}") from None
    if not ended:
        stop()
        raise FarmError("farm-lost", f"the scheduler at {scheduler} no longer answers")


def tell(key: str, line: str) -> None:
    """Send a line to whoever waits for a task of this worker, from any thread."""
    from distributed import get_worker

    get_worker().log_event(_TOPIC, (key, line))


def give_up() -> NoReturn:
    """End a task of this worker, so that another one does it, unless nobody wants it any more."""
    from distributed import Reschedule

    raise Reschedule


def _resource(device: str) -> str:
    """Return what a worker of a device class has, and a task for it needs."""
    return f"target:{device}"


def _broken() -> tuple[type[Exception], ...]:
    """Return what calls raise when their connection breaks."""
    from distributed.client import ClosedClientError, FutureCancelledError

    return FutureCancelledError, ClosedClientError, OSError, TimeoutError, RuntimeError


def _member(info: dict[str, Any]) -> Member | None:
    """Return a worker, or None if it is not one of this tool."""
    try:
        return Member(str(info["name"]), schema.read(Introduction, schema.loads(info[_SAID].encode()), "worker"))
    except (AttributeError, LookupError, ContractError):
        return None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
