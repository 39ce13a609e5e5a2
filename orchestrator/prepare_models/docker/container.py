"""A container's description, how it runs, the engine's answers. Only this module and ``client`` use the Docker SDK."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Mount

from prepare_models_entrypoint.contract.values import Value

from ..errors import ContainerError, HostError, InterruptedRunError
from . import copied_files, gpu
from .client import broken_line, connect, lines, translated, untroubled
from .copied_files import Bind
from .daemon import LABEL, Image, probe
from .gpu import Access

if TYPE_CHECKING:
    from docker.types.daemon import CancellableStream

    Pieces = CancellableStream[tuple[bytes | None, bytes | None]]

PIDS_LIMIT = 4096
SHM_BYTES = 1 << 30
TMP_OPTIONS = "rw,exec,nosuid,nodev,size=1g,mode=1777"  # exec: TensorRT and CUDA write code there and load it

_STOP_GRACE_S = 5
_PIECE = 1 << 20
_QUIET_S = 15.0
_WAIT_S = 60
_LOST_DAEMON_S = 30.0


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One container.

    argv: arguments of the image's entrypoint. user: ``uid:gid``.
    network: none or host. groups: numeric groups besides the user's own. memory_bytes: limit, 0 for none.
    cpu_shares: weight against others' 1024, 0 for the same.
    back: directories of the container whose files are brought here where the engine does not see this machine's.
    """

    image: str
    argv: tuple[str, ...]
    binds: tuple[Bind, ...]
    user: str
    network: str
    access: Access
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[int, ...] = ()
    memory_bytes: int = 0
    cpu_shares: int = 0
    back: Mapping[str, Path] = field(default_factory=dict)


class Ended(Value):
    """How a container ended. ``oom``: whether the kernel killed something in it for lack of memory."""

    exit_code: int
    oom: bool
    timed_out: bool


def arguments(spec: RunSpec, *, local: bool = True) -> dict[str, Any]:
    """Return the Docker SDK's arguments for a container. Pure: equal descriptions give equal arguments.

    ``local``: whether the container engine sees this machine's files.
    """
    if local:
        mounts = [Mount(bind.target, str(bind.source), type="bind", read_only=bind.read_only) for bind in spec.binds]
    else:
        mounts = [Mount(place, None, type="volume", no_copy=True) for place in copied_files.volumes(spec.binds)]
    return {
        "image": spec.image,
        "command": list(spec.argv),
        "user": spec.user,
        "environment": {**spec.environment, **spec.access.environment},
        "labels": dict(spec.labels),
        "mounts": mounts,
        "network_mode": spec.network,
        "read_only": True,
        "tmpfs": {"/tmp": TMP_OPTIONS},  # noqa: S108  # the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": PIDS_LIMIT,
        "shm_size": SHM_BYTES,
        "group_add": [str(group) for group in spec.groups] or None,
        "mem_limit": spec.memory_bytes or None,
        "cpu_shares": spec.cpu_shares or None,
        "memswap_limit": spec.memory_bytes or None,
        # Events and the log are read as they come; a copy kept by the daemon would only fill its disk.
        "log_config": LogConfig(type="none"),
        "working_dir": "/tmp",  # noqa: S108  # the container's own
        **_gpu_arguments(spec.access),
    }


def _gpu_arguments(access: Access) -> dict[str, Any]:
    if access.way == gpu.CDI:
        return {"device_requests": [DeviceRequest(driver="cdi", device_ids=list(access.devices))]}
    if access.way == gpu.DEVICE_REQUEST:
        which: dict[str, Any] = {"count": -1} if access.devices == ("all",) else {"device_ids": list(access.devices)}
        return {"device_requests": [DeviceRequest(capabilities=[["gpu", *gpu.CAPABILITIES.split(",")]], **which)]}
    if access.way == gpu.RUNTIME:
        return {"runtime": gpu.NVIDIA_RUNTIME}
    return {}


class Containers:
    """A connected container engine. Several threads may call ``run`` at once."""

    def __init__(self) -> None:
        """Connect to where DOCKER_HOST or the Docker context points.

        Raises:
            HostError: no container engine answers there.
        """
        with translated():
            self._client = connect()
            self.daemon = probe(self._client)
        self._running: set[Container] = set()
        self._guard = threading.Lock()
        self._stopped = threading.Event()

    def run(
        self,
        spec: RunSpec,
        *,
        on_out: Callable[[bytes], object],
        on_err: Callable[[bytes], object],
        timeout_s: float | None = None,
        on_sent: copied_files.OnSent = lambda *_: None,
    ) -> Ended | None:
        """Run a container to its end and remove it. Return None if ``stop`` was called before or meanwhile.

        ``on_out`` and ``on_err`` get pieces of the output; ``on_sent`` how many bytes of files are sent, and of how
        many, if they have to be sent. ``timeout_s``: seconds after which the container is killed.

        Raises:
            HostError: the container engine refused, or the connection was lost.
        """
        with translated():
            container = self._client.containers.create(**arguments(spec, local=self.daemon.local))
        try:
            with translated(connected=True):
                if not self.daemon.local:  # it doesn't see this machine's files
                    for volume, archive in copied_files.archives(spec.binds, spec.user, self._stopped.is_set, on_sent):
                        container.put_archive(volume, archive)
                ended = self._attend(container, on_out, on_err, timeout_s)
            self._bring(container, spec)
        except (HostError, InterruptedRunError):
            if self._stopped.is_set():
                return None
            raise
        finally:
            with self._guard:
                self._running.discard(container)
            self._remove(container)
        return None if self._stopped.is_set() else ended

    def _bring(self, container: Container, spec: RunSpec) -> None:
        """Fetch what a container wrote to the directories in ``back``."""
        for directory, place in () if self.daemon.local else spec.back.items():
            pieces = self._pieces(container, directory)
            first = next(pieces, None)
            if first is not None:  # the entrypoint removes directories that stayed empty
                copied_files.unpack(itertools.chain([first], pieces), place)

    def _pieces(self, container: Container, directory: str) -> Iterator[bytes]:
        with translated(connected=True), contextlib.suppress(NotFound):
            for piece in container.get_archive(directory, chunk_size=_PIECE)[0]:
                if self._stopped.is_set():
                    raise InterruptedRunError("the run was stopped")
                yield piece

    def _attend(
        self,
        container: Container,
        on_out: Callable[[bytes], object],
        on_err: Callable[[bytes], object],
        timeout_s: float | None,
    ) -> Ended | None:
        stream = container.attach(stdout=True, stderr=True, stream=True, demux=True)
        with self._guard:
            if self._stopped.is_set():
                return None
            self._running.add(container)
        container.start()  # outside the lock: it takes long, and other threads start theirs meanwhile
        if self._stopped.is_set():
            _stop(container)  # ``stop`` came too early for this container
        with _deadline(container, timeout_s) as expired, _closing(stream):
            for out, err in stream if self.daemon.local else self._watched(container, stream):
                if out:
                    on_out(out)
                if err:
                    on_err(err)
            exit_code = container.wait(timeout=_WAIT_S)["StatusCode"]
        container.reload()
        state = container.attrs["State"]
        return Ended(exit_code, bool(state.get("OOMKilled")), expired.is_set())

    def _watched(self, container: Container, stream: Pieces) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Yield output as it comes, and check on the engine during silence: a cut connection isn't reported."""
        pieces: queue.SimpleQueue[tuple[bytes | None, bytes | None] | None] = queue.SimpleQueue()

        def read() -> None:
            with contextlib.suppress(Exception):  # the container's state shows that it ended
                for piece in stream:
                    pieces.put(piece)
            pieces.put(None)

        threading.Thread(target=read, name="attached", daemon=True).start()
        while True:
            try:
                piece = pieces.get(timeout=_QUIET_S)
            except queue.Empty:
                container.reload()  # fails if the container engine is gone
            else:
                if piece is None:
                    return
                yield piece

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def stop(self) -> None:
        """End all containers, from another thread: ask, wait a little, kill."""
        with self._guard:
            self._stopped.set()
            running = list(self._running)
        stoppers = [threading.Thread(target=_stop, args=(container,)) for container in running]
        for thread in stoppers:
            thread.start()
        for thread in stoppers:
            thread.join()

    def sweep(self, label: str, value: str, keep: Callable[[Mapping[str, str]], bool] = lambda _: False) -> None:
        """Remove containers with a label, left behind by killed runs.

        ``value``: of the label; empty for any. ``keep``: returns by a container's labels whether its owner is still
        alive.
        """
        wanted = f"{label}={value}" if value else label
        with translated():
            for container in self._client.containers.list(all=True, filters={"label": wanted}, ignore_removed=True):
                if not keep(container.labels):
                    self._remove(container)

    @translated()
    def images(self) -> list[Image]:
        """Return this tool's images."""
        return [Image.of(each.attrs) for each in self._client.images.list(filters={"label": f"{LABEL}.platform"})]

    @translated()
    def image(self, name: str) -> Image | None:
        """Return an image by its name, or None if the container engine doesn't have it."""
        try:
            return Image.of(self._client.images.get(name).attrs)
        except ImageNotFound:
            return None

    def needed(self, name: str, platform: str = "") -> Image:
        """Return an image by its name. ``platform``: the one that it is built for, if known.

        Raises:
            ContainerError: the container engine doesn't have it.
        """
        image = self.image(name)
        if image is None:
            build = "prepare-models image build" + (f" --platform {platform}" if platform else "")
            message = f"the container engine does not have the image {name}"
            raise ContainerError("image-missing", message, hint=f"{build}, or image pull, or image load")
        return image

    def build(self, context: IO[bytes], **options: Any) -> Iterator[str]:
        """Build an image from a tar of its context; yield the builder's lines. ``options``: those of the Docker SDK.

        Raises:
            HostError: a step failed; the message is the builder's.
        """
        with translated():
            build = self._client.api.build
            yield from lines(build(fileobj=context, custom_context=True, rm=True, forcerm=True, decode=True, **options))

    def pull(self, reference: str) -> Iterator[str]:
        """Pull an image; yield the registry's messages."""
        with translated():
            yield from lines(self._client.api.pull(reference, stream=True, decode=True))

    @translated()
    def tag(self, reference: str, name: str) -> None:
        """Give an image a second name."""
        repository, _, tag = name.rpartition(":")
        self._client.images.get(reference).tag(repository, tag)

    def save(self, name: str) -> Iterator[bytes]:
        """Yield the archive of an image."""
        with translated():
            yield from self._client.images.get(name).save(named=name)

    @translated()
    def load(self, archive: Iterable[bytes]) -> list[Image]:
        """Load an archive and return its images."""
        return [Image.of(image.attrs) for image in self._client.images.load(archive)]  # type: ignore[arg-type]  # it sends what it can iterate over

    def _remove(self, container: Container) -> None:
        """Remove a container; wait for a restarting daemon, and leave the rest to the next run's sweep."""
        give_up = time.monotonic() + _LOST_DAEMON_S
        while True:
            try:
                container.remove(force=True, v=True)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # 409: it is already being removed
                    return
            except broken_line():
                pass
            else:
                return
            if time.monotonic() > give_up:
                return
            time.sleep(0.2)


def _stop(container: Container) -> None:
    with untroubled():
        container.stop(timeout=_STOP_GRACE_S)


@contextlib.contextmanager
def _closing(stream: Pieces) -> Iterator[None]:
    try:
        yield
    finally:
        # AttributeError: raised by the SDK at the end of a stream; DockerException: it can't close one over ssh.
        with contextlib.suppress(OSError, AttributeError, DockerException):
            stream.close()


@contextlib.contextmanager
def _deadline(container: Container, timeout_s: float | None) -> Iterator[threading.Event]:
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        with untroubled():
            container.kill()

    timer = threading.Timer(timeout_s, expire) if timeout_s else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield expired
    finally:
        if timer:
            timer.cancel()
