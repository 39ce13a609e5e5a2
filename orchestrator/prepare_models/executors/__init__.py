"""Where a model is built. Each module is one executor; the table is the only list of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prepare_models_entrypoint.contract.event import Event
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.report import ModelReport, RuntimeInfo

from ..docker import gpu
from ..errors import HostError, UsageError
from ..machine import platforms
from ..machine.facts import Machine
from ..machine.platforms import Platform
from ..manifest import ModelSpec
from ..planning.planner import PlannedModel
from ..running.connection import NetworkSpec
from ..running.writer_lock import Held

OnEvent = Callable[[Event], None]

NAMES = ("auto", "local", "docker")


@dataclass(frozen=True)
class Task:
    """One model to build.

    lock: held for the model's directory; its descriptor is to be kept open for as long as anything works on the model.
    timeout_s: seconds that the conversion may take.
    offline: whether all sources are in the download store, so that nothing is fetched.
    """

    planned: PlannedModel
    run_id: str
    lock: Held
    timeout_s: float | None
    on_event: OnEvent
    offline: bool = False


@dataclass(frozen=True)
class ContainerOptions:
    """What the command line says about containers. None leaves a choice to what is found on the machine.

    gpu: none, all, an index or a UUID. memory_bytes: limit of a container; 0 for none.
    """

    platform: str | None = None
    image: str | None = None
    gpu: str | None = None
    memory_bytes: int | None = None

    def platform_for(self, machine: Machine) -> Platform:
        """Return the platform of the image for a machine."""
        return platforms.named(self.platform) if self.platform else platforms.pick(machine).platform

    def gpu_for(self, platform: Platform) -> str:
        """Return the GPUs that a container gets."""
        if self.gpu is not None:
            return self.gpu
        return gpu.NONE if platform.builds_without_gpu else "all"

    @property
    def given(self) -> bool:
        """Tell whether the user chose anything that only containers have."""
        return self != ContainerOptions()


class Fetcher(Protocol):
    """Fetches sources ahead of their turn: ``start``, ``results`` in a thread, ``stop`` from another, ``close``."""

    def start(self) -> None:
        """Get ready, and begin where that needs no waiting."""

    def results(self) -> object:
        """Wait for all sources."""

    def stop(self) -> None:
        """End it; ``results`` then ends, too."""

    def close(self) -> None:
        """Free what belongs to it."""


class Executor(Protocol):
    """Runs the entrypoint on one model at a time; several threads may call ``run`` at once."""

    name: str

    def unavailable(self) -> str | None:
        """Say why this machine can't use the executor, or return None."""

    def fix(self) -> str:
        """Return the command that makes the executor available."""

    def describe(self) -> RuntimeInfo:
        """Return the backend and GPU that engines would be built with."""

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the name and the facts under which a lock knows what builds here."""

    def run(self, task: Task) -> ModelReport:
        """Build one model."""

    def check(self, spec: ModelSpec, folder: Path) -> ModelReport:
        """Judge one model without building it. ``folder``: an empty private directory."""

    def verify(self, spec: ModelSpec, output_dir: Path, folder: Path) -> ModelReport:
        """Compare the engine in ``output_dir`` with its source model. ``folder``: an empty private directory."""

    def fetcher(self, job: FetchJob, network: NetworkSpec) -> Fetcher:
        """Return what fetches a job's sources ahead of their turn."""

    def stop(self) -> None:
        """End whatever runs, from another thread."""


def pick(name: str, options: ContainerOptions | None = None, *, builds: bool = True) -> Executor:
    """Return the executor that the user wants.

    ``auto`` takes containers where an engine answers and has the image of this machine's platform, else this Python:
    nothing is built or pulled behind the user's back. ``builds``: whether this Python needs a TensorRT.

    Raises:
        HostError: none works.
    """
    from .local import LocalExecutor

    if name not in NAMES:
        raise UsageError(f"unknown executor {name}", hint=f"one of {', '.join(NAMES)}")
    options = options or ContainerOptions()
    if name == "local" and options.given:
        raise UsageError(
            "--platform, --image, --gpu and --memory are of containers, which --executor local has not got",
            hint="leave them out, or give --executor docker",
        )
    local = LocalExecutor()
    why_no_docker: HostError | None = None
    if name == "docker" or (name == "auto" and (options.given or engine_may_answer())):
        by_choice = name == "docker" or options.given
        try:
            return _docker(options, instead=None if by_choice or local.unavailable() else local)
        except HostError as error:
            if by_choice:
                raise
            why_no_docker = error
    why_not = local.unavailable() if builds else None
    if why_not is None:
        return local
    if why_no_docker is not None:
        raise HostError(
            f"neither containers nor this Python can build engines: {why_no_docker.message}; {why_not}",
            hint=f"{why_no_docker.hint}; or: {local.fix()}",
        )
    raise HostError(f"no TensorRT to build engines with: {why_not}", hint=f"run: {local.fix()}")


def _docker(options: ContainerOptions, *, instead: Executor | None) -> Executor:
    """Return an executor for containers, one that asks as little as it can.

    Args:
        options: what the command line says.
        instead: taken where the engine has not got the image.
    """
    from . import docker_lazy

    found = docker_lazy.look(options)
    if found is not None and found.image is None and instead is not None:
        return instead
    executor = docker_lazy.executor(found, options) if found is not None else None
    if executor is not None:
        return executor
    from .docker import connect

    return connect(options)


def engine_may_answer() -> bool:
    """Tell whether it is worth asking: without an address and without a socket the Docker SDK is not even loaded."""
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    sockets = [Path("/var/run/docker.sock"), *([Path(runtime_dir, "docker.sock")] if runtime_dir else [])]
    configured = any(os.environ.get(name) for name in ("DOCKER_HOST", "DOCKER_CONTEXT"))
    return configured or any(path.exists() for path in sockets) or has_context()


def has_context() -> bool:
    """Tell whether the user of Docker's command line chose an engine by a context."""
    config = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        return "currentContext" in config.read_text(encoding="utf-8")
    except OSError:
        return False
