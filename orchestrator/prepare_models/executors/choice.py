"""Which executor the user asks for, or works on this machine."""

from __future__ import annotations

import importlib

from prepare_models_entrypoint.contract import extras

from ..docker import address
from ..errors import HostError, UsageError
from ..machine.environments import unavailable
from ..options import ContainerOptions
from . import EXECUTORS, FARM, NAMES
from .executor import Executor


def named(name: str, options: ContainerOptions | None = None) -> Executor:
    """Return an executor of the table.

    Raises:
        HostError: it doesn't work here.
    """
    module, kind = EXECUTORS[name]
    executor: Executor = getattr(importlib.import_module(f"{__package__}.{module}"), kind)(
        options or ContainerOptions()
    )
    return executor


def pick(name: str, options: ContainerOptions | None = None, *, builds: bool = True) -> Executor:
    """Return the executor that the user asks for.

    ``auto`` means containers if a container engine answers and has the image of this machine's platform, else this
    Python: nothing is built or pulled behind the user's back. ``builds``: whether this Python needs a TensorRT.

    Raises:
        HostError: none works.
    """
    if name not in NAMES:
        raise UsageError(f"unknown executor {name}", hint=f"one of {', '.join(NAMES)}")
    options = options or ContainerOptions()
    if options.farm.scheduler is not None and name != FARM:
        raise UsageError(f"--scheduler is for --executor {FARM}", hint=f"leave it out, or give --executor {FARM}")
    if name == "auto":
        return _automatic(options, builds=builds)
    if name == "local":
        if options.given:
            raise UsageError(
                "--platform, --image, --gpu and --memory are for containers, and --executor local starts none",
                hint="leave them out, or give --executor docker",
            )
        return _local(options, builds=builds)
    return named(name, options)


def _automatic(options: ContainerOptions, *, builds: bool) -> Executor:
    if not options.given and not address.may_answer():
        return _local(options, builds=builds)
    from . import docker

    found = docker.look(options)
    if not options.given and found is not None and found.image is None and unavailable() is None:
        return named("local", options)
    try:
        return docker.Docker(options, lambda _: found)
    except HostError as error:
        if options.given:
            raise
        return _local(options, builds=builds, no_docker=error)


def _local(options: ContainerOptions, *, builds: bool, no_docker: HostError | None = None) -> Executor:
    """Return the executor for this Python. ``no_docker``: why containers, which come first, don't work."""
    why_not = unavailable() if builds else None
    if why_not is None:
        return named("local", options)
    if no_docker is None:
        raise HostError(f"no TensorRT to build engines with: {why_not}", hint=f"run: {extras.install('local')}")
    raise HostError(
        f"neither containers nor this Python can build engines: {no_docker.message}; {why_not}",
        hint=f"{no_docker.hint}; or: {extras.install('local')}",
    )
