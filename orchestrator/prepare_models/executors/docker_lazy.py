"""Containers of an image that was described before: nothing is started, and little asked, before something is built."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION
from prepare_models_entrypoint.contract.fetch import FetchJob
from prepare_models_entrypoint.contract.report import ModelReport, RuntimeInfo

from ..docker import socket
from ..docker.daemon import CONTRACT_LABEL, Image, is_local
from ..errors import InterruptedRunError
from ..lock import facts
from ..machine import environments
from ..machine.facts import Machine
from ..machine.platforms import Platform
from ..manifest import ModelSpec
from ..running.connection import NetworkSpec
from . import ContainerOptions, Executor, Fetcher, Task, has_context

_ID = re.compile("sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Found:
    """What is known without a container. ``image``: None where the engine has not got it."""

    machine: Machine
    platform: Platform
    image: Image | None


def look(options: ContainerOptions) -> Found | None:
    """Return machine, platform and image. One question to the engine, none for an image that goes by its id.

    None where an engine elsewhere, or one that does not answer, would have to be asked.
    """
    machine = environments.this_machine()
    platform = options.platform_for(machine)
    name = options.image or platform.image
    address = socket.find(has_context=has_context())
    here = address is not None or is_local(os.environ.get("DOCKER_HOST", ""))
    if here and _ID.fullmatch(name):  # whether it is there matters to builds alone
        labels = {CONTRACT_LABEL: str(CONTRACT_VERSION)}  # part of the facts under which its description is kept
        return Found(machine, platform, Image(name, (), labels, machine.arch, 0))
    if address is None:
        return None
    try:
        return Found(machine, platform, socket.image(address, name))
    except (OSError, ValueError):
        return None


def executor(found: Found, options: ContainerOptions) -> Executor | None:
    """Return an executor for an image that was described before, None for another one."""
    if found.image is None or found.image.unfit() is not None:
        return None
    gpu = options.gpu_for(found.platform)
    runtime: RuntimeInfo | None = environments.known(environments.image_facts(found.image.id, found.machine, gpu))
    return None if runtime is None else KnownExecutor(options, found.platform, found.image, runtime)


class KnownExecutor:
    """The docker executor, which is only made when there is work for it."""

    name = "docker"

    def __init__(self, options: ContainerOptions, platform: Platform, image: Image, runtime: RuntimeInfo) -> None:
        # By its id: a tag that is moved meanwhile changes nothing.
        self._options = replace(options, platform=platform.name, image=image.id)
        self._platform, self._image, self._runtime = platform, image, runtime
        self._guard = threading.Lock()
        self._made: Executor | None = None
        self._stopped = False

    def unavailable(self) -> str | None:
        """Return None, as the docker executor does."""
        return None

    def fix(self) -> str:
        """Return the command that makes the executor available."""
        return "prepare-models doctor"

    def describe(self) -> RuntimeInfo:
        """Return backend and GPU as the image told them before."""
        return self._runtime

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the image's name and facts in a lock."""
        return facts.of_image(self._platform, self._image)

    def run(self, task: Task) -> ModelReport:
        """Build one model and return its report."""
        return self._docker().run(task)

    def check(self, spec: ModelSpec, folder: Path) -> ModelReport:
        """Judge one model without building it. ``folder``: an empty private directory."""
        return self._docker().check(spec, folder)

    def verify(self, spec: ModelSpec, output_dir: Path, folder: Path) -> ModelReport:
        """Compare the engine in ``output_dir`` with its source model. ``folder``: an empty private directory."""
        return self._docker().verify(spec, output_dir, folder)

    def fetcher(self, job: FetchJob, network: NetworkSpec) -> Fetcher:
        """Return what fetches a job's sources."""
        return self._docker().fetcher(job, network)

    def stop(self) -> None:
        """End whatever runs."""
        with self._guard:
            self._stopped = True
            made = self._made
        if made is not None:
            made.stop()

    def _docker(self) -> Executor:
        """Return the executor that works."""
        from .docker import connect

        with self._guard:
            if self._stopped:
                raise InterruptedRunError("the run was stopped")
            if self._made is None:
                made = connect(self._options)
                made.describe()  # asks the image again where the way to the GPU is another one now
                self._made = made
            return self._made
