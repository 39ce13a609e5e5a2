"""What a command line says about models, consumers and executors, in the API's terms."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypedDict

from ..executors import choice
from ..executors.executor import Executor
from ..options import ContainerOptions, FarmOptions, Signatures
from ..running.selection import Bundle, Delivery, ManifestLike
from .options import signatures


class Place(TypedDict):
    """Where engines are built and for whom, by the names of the API's arguments."""

    models_dir: Path
    executor: str
    containers: ContainerOptions
    delivery: Delivery
    force: bool


class Choice(TypedDict):
    """Which models of a manifest, and what they must match."""

    models: list[str]
    locked: bool
    signatures: Signatures


def place(arguments: argparse.Namespace) -> Place:
    """Return where a command line builds, and for whom."""
    return {
        "models_dir": arguments.models_dir, "executor": arguments.executor, "containers": containers(arguments),
        "delivery": Delivery(dict(arguments.tensor_names), arguments.consumer, arguments.deploy_dir),
        "force": arguments.force,
    }  # fmt: skip


def models(arguments: argparse.Namespace) -> Choice:
    """Return which models a command line chooses, and what they must match."""
    return {"models": arguments.names, "locked": arguments.locked, "signatures": signatures(arguments)}


def executor(arguments: argparse.Namespace, *, builds: bool = True) -> Executor:
    """Return the executor that the command line asks for. ``builds``: whether it has to build engines."""
    return choice.pick(arguments.executor, containers(arguments), builds=builds)


def containers(arguments: argparse.Namespace) -> ContainerOptions:
    """Return the options for containers."""
    return ContainerOptions(
        platform=arguments.platform, image=arguments.image, gpu=arguments.gpu, memory_bytes=arguments.memory,
        nice=arguments.nice, farm=farm(arguments),
    )  # fmt: skip


def farm(arguments: argparse.Namespace) -> FarmOptions:
    """Return how a farm is reached."""
    return FarmOptions(
        arguments.scheduler, arguments.tls_ca, arguments.tls_cert, arguments.tls_key, arguments.insecure,
        getattr(arguments, "attach", False), getattr(arguments, "store", None),
    )  # fmt: skip


def given(arguments: argparse.Namespace) -> ManifestLike | Bundle:
    """Return the manifest's file, or the bundle."""
    manifest: ManifestLike = arguments.manifest
    return manifest if arguments.bundle is None else Bundle(arguments.bundle, arguments.base)
