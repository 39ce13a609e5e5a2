"""What a command line chose: models of a manifest or of a bundle, and the executor that works on them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from ..errors import UsageError
from ..executors import choice
from ..executors.executor import Executor
from ..executors.options import ContainerOptions
from ..lock.document import Lock
from ..lock.drift import drift_of_platform, refuse
from ..lock.pins import load
from ..manifest.model import Manifest, ModelSpec
from ..planning import planner
from ..support.display import byte_lines
from .trusting import trusted


def executor(arguments: argparse.Namespace, *, builds: bool = True) -> Executor:
    """Return the executor that the command line asks for. ``builds``: whether it has to build engines."""
    return choice.pick(arguments.executor, _containers(arguments), builds=builds)


def chosen(arguments: argparse.Namespace, *, accepts: bool = False) -> tuple[Manifest, Sequence[ModelSpec], Executor]:
    """Return manifest, chosen models and executor, from the files of the user or from a bundle, held to the lock.

    ``accepts``: whether older editions of a signed bundle or lock are refused from now on.
    """
    options, held_to = _containers(arguments), None
    if arguments.bundle is not None:
        loaded, held_to, options = _unpacked(arguments, options, accepts=accepts)
    else:
        if arguments.require_signed and not arguments.locked:
            hint = "give --locked: the lock is what is signed"
            raise UsageError("--require-signed needs --locked or --bundle", hint=hint)
        loaded, known = load(arguments.manifest, locked=arguments.locked, keys=trusted(arguments), accepts=accepts)
        held_to = known if arguments.locked else None
    specs = delivered(planner.select(loaded, arguments.names), arguments)
    found = choice.pick(arguments.executor, options)
    if held_to is not None:
        refuse(drift_of_platform(held_to, *found.locked_as()), arguments.manifest)
    return loaded, specs, found


def delivered(specs: Sequence[ModelSpec], arguments: argparse.Namespace) -> Sequence[ModelSpec]:
    """Return models with the names and for the consumers that the command line says."""
    specs = planner.with_tensor_names(specs, dict(arguments.tensor_names))
    return planner.with_deployment(specs, arguments.deploy_dir, arguments.consumer)


def _containers(arguments: argparse.Namespace) -> ContainerOptions:
    return ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory
    )


def _unpacked(
    arguments: argparse.Namespace, options: ContainerOptions, *, accepts: bool
) -> tuple[Manifest, Lock, ContainerOptions]:
    """Verify and unpack the bundle that the command line names, and load the image that it is to use.

    An image is used where an engine answers and ``--executor local`` was not given.
    """
    from ..bundle.unpack import load_image, unpack
    from ..docker import address

    by_image = arguments.executor != "local" and options.image is None
    by_image = by_image and (arguments.executor == "docker" or address.may_answer())
    wanted = options.platform
    with byte_lines(show=not (arguments.quiet or arguments.json)) as line:
        site = unpack(
            arguments.bundle, arguments.base, trusted(arguments), line("verified"),
            lambda image: by_image and wanted in (None, image.platform), accepts=accepts,
        )  # fmt: skip
    image = site.image(wanted) if by_image and site.index.images else None
    if image is not None:
        load_image(site, image)
        options = replace(options, platform=image.platform, image=image.id)
    return site.manifest, site.lock, options
