"""What a command line says of models, consumers and executors, as the API takes it."""

from __future__ import annotations

import argparse

from ..executors import choice
from ..executors.executor import Executor
from ..executors.options import ContainerOptions
from ..running.selection import Bundle, Delivery, ManifestLike


def executor(arguments: argparse.Namespace, *, builds: bool = True) -> Executor:
    """Return the executor that the command line asks for. ``builds``: whether it has to build engines."""
    return choice.pick(arguments.executor, containers(arguments), builds=builds)


def containers(arguments: argparse.Namespace) -> ContainerOptions:
    """Return what is said about containers."""
    return ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory
    )


def given(arguments: argparse.Namespace) -> ManifestLike | Bundle:
    """Return the manifest's file, or the bundle."""
    manifest: ManifestLike = arguments.manifest
    return manifest if arguments.bundle is None else Bundle(arguments.bundle, arguments.base)


def delivery(arguments: argparse.Namespace) -> Delivery:
    """Return for whom engines are made."""
    return Delivery(dict(arguments.tensor_names), arguments.consumer, arguments.deploy_dir)
