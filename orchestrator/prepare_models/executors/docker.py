"""Engines are built in containers. The daemon is connected only when there is work for it, and hardly contacted before.

An image that was described before is known by its id: one request finds which image a name means, an image given by id
needs none, and the Docker SDK isn't even loaded.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract.codec import CONTRACT_VERSION
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.values import Value

from ..docker import address, daemon, gpu
from ..docker.daemon import CONTRACT_LABEL, Image, caller_umask
from ..errors import InterruptedRunError
from ..lock import document as locks
from ..machine import environments, platforms
from ..machine.facts import Machine
from ..machine.platforms import Platform
from ..options import ContainerOptions
from .executor import Downloader, Executor, Transport
from .local import LocalPython

if TYPE_CHECKING:
    from .site import Site

_ID = "sha256:[0-9a-f]{64}"


class Found(Value):
    """What is known without a connection. ``image``: None if the daemon doesn't have it."""

    machine: Machine
    platform: Platform
    image: Image | None


def look(options: ContainerOptions) -> Found | None:
    """Return machine, platform and image, with one request to the daemon, or none for an image given by id.

    None if that would require a remote daemon, or one that doesn't answer.
    """
    machine = environments.this_machine()
    platform = platforms.of(options.platform, machine)
    name = options.image or platform.image
    if address.is_here() and re.fullmatch(_ID, name):  # whether it exists matters only to builds
        labels = {CONTRACT_LABEL: str(CONTRACT_VERSION)}  # part of the facts under which its description is stored
        return Found(machine, platform, Image(name, (), labels, machine.arch, 0))
    place = address.socket_path()
    if place is None:
        return None
    try:
        return Found(machine, platform, daemon.ask_image(place, name))
    except (OSError, ValueError):
        return None


class Docker(Executor):
    """Containers of one image."""

    name = "docker"

    def __init__(self, options: ContainerOptions, look: Callable[[ContainerOptions], Found | None] = look) -> None:
        """Connect, unless the image was described before. ``look``: finds what can be known without a connection.

        Raises:
            HostError: no daemon answers, or it lacks the image or a way to the GPU.
        """
        self._options, self._local = options, LocalPython()
        self._guard = threading.Lock()
        self._umask = caller_umask()  # read before there are threads, which change it briefly
        self._stopped = False
        self._site: Site | None = None
        self._runtime: RuntimeInfo | None = None
        found = look(options)
        if found is not None and found.image is not None and found.image.unfit() is None:
            wanted = gpu.wanted(options.gpu, found.platform)
            self._runtime = environments.recalled(environments.image_facts(found.image.id, found.machine, wanted))
            self._platform, self._image = found.platform, found.image
            # By id, so that moving a tag meanwhile changes nothing.
            self._options = replace(options, platform=found.platform.name, image=found.image.id)
        if self._runtime is None:
            self._options = options
            site = self._connect()
            self._platform, self._image = site.platform, site.image

    def describe(self) -> RuntimeInfo:
        """Return backend and GPU as the image reported them before, or else as it reports them now."""
        if self._runtime is None:
            self._runtime = self._connect().describe()
        return self._runtime

    def locked_as(self) -> tuple[str, Mapping[str, str]]:
        """Return the image's name and facts in a lock."""
        return locks.facts_of_image(self._platform, self._image)

    def building(self) -> Transport:
        """Return containers with a GPU."""
        from .containers import BuildingContainers

        return BuildingContainers(self._connect())

    def fetching(self) -> Downloader:
        """Return containers with a network; this Python if the daemon is on another machine."""
        from .containers import FetchingContainers

        site = self._connect()
        return FetchingContainers(site) if site.local else self._local

    def stop(self) -> None:
        """End everything that runs, in this Python and in containers."""
        with self._guard:
            self._stopped = True
            site = self._site
        self._local.stop()
        if site is not None:
            site.containers.stop()

    def _connect(self) -> Site:
        with self._guard:
            if self._stopped:
                raise InterruptedRunError("the run was stopped")
            if self._site is None:
                from .site import Site

                site = Site(self._options, self._umask)
                if self._runtime is not None:
                    site.describe()  # asks the image again if the way to the GPU has changed
                self._site = site
            return self._site
