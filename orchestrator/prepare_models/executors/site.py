"""A connected daemon: its machine, the image, the way to the GPU, and how containers are described."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.files import UMASK_VARIABLE
from prepare_models_entrypoint.contract.launch import NICE_VARIABLE
from prepare_models_entrypoint.contract.runtime import BOARD_VARIABLE

from ..docker import gpu
from ..docker.container import Containers, RunSpec
from ..docker.copied_files import Bind
from ..docker.daemon import LABEL, container_groups, container_user, owner_labels, owner_lives
from ..errors import ContainerError, KeyUnavailableError
from ..machine import platforms
from ..machine.environments import image_facts, machine_facts, remember, remembered, this_machine
from ..machine.facts import Machine
from ..options import ContainerOptions
from ..support.paths import contents_dir

OWNER_LABEL = f"{LABEL}.owner"
HOME = {
    "HOME": "/tmp",  # noqa: S108  # the container's own
    "USER": "prepare-models",
    "LOGNAME": "prepare-models",
    "XDG_CACHE_HOME": "/tmp/.cache",  # noqa: S108  # the container's own
    "CUDA_CACHE_PATH": "/tmp/.nv",  # noqa: S108  # the container's own
}

_MEMORY_SHARE = 0.9
_GIVES_WAY = 64  # of the 1024 shares that other containers have
_VIDEO = 44  # Debian's and so Jetson Linux's group of the GPU's device nodes


class Site:
    """Where containers run."""

    def __init__(self, options: ContainerOptions, umask: str) -> None:
        """Connect to the daemon that DOCKER_HOST or the context names; choose platform, image and way to the GPU.

        ``umask``: the caller's, in octal digits.

        Raises:
            HostError: it doesn't answer, lacks the image, or has no way to the GPU.
        """
        self.containers = Containers()
        daemon = self.containers.daemon
        self._options, self._umask = options, umask
        self._machine = this_machine() if daemon.local else _machine_elsewhere(options, daemon.arch)
        self.platform = platforms.of(options.platform, self._machine)
        self._name = options.image or self.platform.image
        self.image = self.containers.needed(self._name, self.platform.name)
        why_not = self.image.unfit()
        if why_not is not None:
            raise ContainerError("image-unfit", f"{self._name}: {why_not}", hint="prepare-models image build")
        wanted = self._wanted = gpu.wanted(options.gpu, self.platform)
        self._access = gpu.choose(daemon, self._machine, wanted)
        self._gpus: queue.Queue[gpu.Access] | None = None
        if self._access.way != gpu.NONE:
            self._gpus = queue.Queue()
            for access in gpu.for_each(daemon, self._machine, wanted):
                self._gpus.put(access)
        self.containers.sweep(OWNER_LABEL, "", keep=owner_lives)
        for file in _directory().iterdir():  # secrets of processes that were killed
            if not Path("/proc", file.name.partition("-")[0]).exists():
                file.unlink(missing_ok=True)

    @property
    def local(self) -> bool:
        """Return whether containers see this machine's files."""
        return self.containers.daemon.local

    def describe(self) -> RuntimeInfo:
        """Return backend and GPU as the entrypoint sees them in the image; on this machine, remembered while valid.

        Raises:
            ContainerError: a GPU was asked for, but the container has none.
        """
        without = self._access.way == gpu.NONE
        answer = self._remembered(without=without) if self.local else self._ask()
        if answer["gpu"] is None and not without:
            raise ContainerError(
                "gpu-unavailable",
                f"the container sees no GPU, though the engine accepted the request ({self._access.way}): "
                f"{answer['gpu_reason'] or ''}",
                hint="prepare-models doctor names what is missing; --gpu none builds without one where the backend can",
            )
        return answer

    def _remembered(self, *, without: bool) -> RuntimeInfo:
        machine_now = [] if without else [self._access.way, self._access.devices, *machine_facts()]
        facts = [self.image.id, self._machine.board, *machine_now]
        answer = remembered(facts, self._ask, lasting=lambda found: without or found["gpu"] is not None)
        if without or answer["gpu"] is not None:
            remember(image_facts(self.image.id, self._machine, self._wanted), answer)
        return answer

    def _ask(self) -> RuntimeInfo:
        out, err = bytearray(), bytearray()
        spec = self.container(("describe",), (), self._access, network="none")
        ended = self.containers.run(spec, on_out=out.extend, on_err=err.extend)
        try:
            answer = schema.read(RuntimeInfo, schema.loads(bytes(out)), "description")
            cast("dict[str, object]", answer).pop("contract", None)  # known from the image's label
        except ContractError:
            last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise ContainerError(
                "image-unfit",
                f"the entrypoint does not start in {self._name}: "
                f"status {ended.exit_code if ended else 'none'} {''.join(last)}",
                hint="build the image again: prepare-models image build",
            ) from None
        return answer

    def container(
        self,
        argv: tuple[str, ...],
        binds: Sequence[Bind],
        access: gpu.Access,
        *,
        network: str,
        environment: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> RunSpec:
        """Describe a container of the image: the caller's user, groups and umask, and everything else common to all."""
        daemon = self.containers.daemon
        devices = self._machine.device_groups if self._machine.jetson and access.way != gpu.NONE else ()
        board = {BOARD_VARIABLE: self._machine.board} if self._machine.board else {}
        nice = {NICE_VARIABLE: "1"} if self._options.nice else {}
        return RunSpec(
            image=self.image.id,
            argv=argv,
            binds=tuple(binds),
            user=container_user(daemon),
            network=network,
            access=access,
            environment={**HOME, UMASK_VARIABLE: self._umask, **board, **nice, **(environment or {})},
            labels=owner_labels(labels or {}),
            groups=tuple(dict.fromkeys((*devices, *container_groups(daemon)))),
            memory_bytes=self.memory_bytes,
            cpu_shares=_GIVES_WAY if nice and not daemon.rootless else 0,  # rootless engines seldom rule over CPUs
        )

    @property
    def memory_bytes(self) -> int:
        """Return the memory limit. A Jetson's GPU uses the same memory, so there is none unless the user sets one."""
        if self._options.memory_bytes is not None:
            return self._options.memory_bytes
        return 0 if self._machine.jetson else int(self.containers.daemon.memory_bytes * _MEMORY_SHARE)

    @contextlib.contextmanager
    def gpu(self) -> Iterator[gpu.Access]:
        """Assign a GPU to one build at a time; builds without a GPU don't wait."""
        if self._gpus is None:
            yield self._access
            return
        access = self._gpus.get()
        try:
            yield access
        finally:
            self._gpus.put(access)


def _machine_elsewhere(options: ContainerOptions, arch: str) -> Machine:
    """Return what is known about a remote daemon's machine.

    Raises:
        ContainerError: its platform was not given.
    """
    if options.platform is None:
        raise ContainerError(
            "docker-remote",
            "the engine that DOCKER_HOST or the Docker context names is on another machine, which can't be examined",
            hint="name its platform with --platform NAME (see image list), or choose this machine's engine: "
            "docker context use default",
        )
    releases = platforms.named(options.platform).l4t
    if not releases:
        return Machine(arch=arch)
    board = os.environ.get(BOARD_VARIABLE, "")
    if not board:
        raise ContainerError(
            "docker-remote",
            "the Jetson's module can't be determined from here, and an engine runs only on one",
            hint=f"set {BOARD_VARIABLE} to what prepare-models doctor prints there, such as p3767-0000",
        )
    return Machine(arch=arch, l4t=platforms.version(releases[0]), board=board, device_groups=(_VIDEO,))


@contextlib.contextmanager
def secret_file(content: str | None, name: str) -> Iterator[Path | None]:
    """Yield a file with a secret that only this user can read, in memory if the system has such files.

    ``name``: name of the secret.
    """
    if content is None:
        yield None
        return
    file = _directory() / f"{os.getpid()}-{threading.get_ident()}-{name}"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(content)
        yield file
    finally:
        file.unlink(missing_ok=True)


def _directory() -> Path:
    user = os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm"  # noqa: S108  # a private directory in it
    base = Path(user) if os.access(user, os.W_OK) else contents_dir()
    directory = base / f"prepare-models-keys-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise KeyUnavailableError(f"{directory} is open to other users", hint="remove it, then run again")
    return directory
