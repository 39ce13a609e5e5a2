"""What commands that build engines share: options, what they say in the API's terms, the display, the reports."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypedDict

from ..errors import EXIT_MODEL_FAILED, EXIT_OK, UsageError
from ..executors import choice
from ..executors.executor import Executor
from ..options import POLICIES, PULL_OR_BUILD, ContainerOptions, FarmOptions, Sharing, Signatures
from ..reports import documents, text
from ..reports.documents import RunReport
from ..running import progress
from ..running.progress import Observer
from ..running.selection import Bundle, Delivery, ManifestLike
from ..support.page import Part, show
from .options import add, add_key, add_output, seconds, signatures, size


def add_building(command: argparse.ArgumentParser) -> None:
    """Add the options for building and reporting engines, however the models are chosen."""
    add(command, "--report", "also write the run's report to FILE", Path)
    for form in documents.FORMS:
        add(command, f"--report-{form}", f"write it as {form}, too", Path)
    add_limits(command)
    add_output(command)


def add_limits(command: argparse.ArgumentParser) -> None:
    """Add the options for how long a conversion may take, and whether terms are accepted."""
    add(command, "--timeout", "longest time for the conversion of one model (default 6 hours)", seconds)
    add(command, "--accept-eula", "accept the terms of use of the models")


def add_sharing(command: argparse.ArgumentParser) -> None:
    """Add which shared store engines come from, and whether they go there."""
    group = command.add_argument_group("shared store")
    add(group, "--store", "take engines from there, such as s3://bucket/prefix or https://...", "URL")
    add(group, "--policy", f"what to do about engines that the store lacks (default {PULL_OR_BUILD})", POLICIES)
    add_key(group, "signs what is pushed")
    add(group, "--jitter", "wait for a random time before the first contact", seconds)
    add(group, "--bandwidth", "pull so many bytes a second at most, such as 2MiB", size)


def sharing(arguments: argparse.Namespace) -> Sharing | None:
    """Return what a command line says of a shared store, None without one."""
    options = ("policy", "jitter", "bandwidth", "sign", "password_file")
    given = [f"--{name.replace('_', '-')}" for name in options if getattr(arguments, name) is not None]
    if arguments.store is None and given:
        raise UsageError(f"{given[0]} is about a shared store", hint="give its --store URL, too")
    return arguments.store and Sharing(
        arguments.store, arguments.policy or PULL_OR_BUILD, arguments.jitter or 0.0, arguments.bandwidth or None,
        arguments.sign, arguments.password_file,
    )  # fmt: skip


def ended(report: RunReport, arguments: argparse.Namespace, parts: Sequence[Part]) -> int:
    """Print the report of a run, as JSON or in ``parts`` for people, and return the exit status.

    Besides JSON, its messages go to standard error, unless quiet or logging JSON.
    """
    if arguments.json:
        text.write(report.render().rstrip())
        found = text.messages(report.document["models"])[1:]
        if found and not arguments.quiet and arguments.log_format == "text":
            show(*found, stream=sys.stderr)
    else:
        show(*parts, wide=arguments.wide)
    return EXIT_OK if report.ok else EXIT_MODEL_FAILED


def observer(arguments: argparse.Namespace) -> AbstractContextManager[Observer]:
    """Return the observer that displays a run in progress."""
    return progress.observer(quiet=arguments.quiet, log_format=arguments.log_format, verbose=arguments.verbose)


def reports(arguments: argparse.Namespace) -> dict[str, Path]:
    """Return the report files that the command line asks for, by form."""
    named = {form: getattr(arguments, f"report_{form}") for form in documents.FORMS}
    named[documents.JSON] = arguments.report
    return {form: file for form, file in named.items() if file is not None}


class Place(TypedDict):
    """Where engines are built and for whom, by the names of the API's arguments."""

    models_dir: Path
    executor: str
    containers: ContainerOptions
    delivery: Delivery
    force: bool


class Call(Place):
    """The same of a manifest or bundle: which models of it, and what they must match."""

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


def call(arguments: argparse.Namespace) -> Call:
    """Return which models a command line chooses, where it builds, and for whom."""
    return {
        **place(arguments), "models": arguments.names, "locked": arguments.locked, "signatures": signatures(arguments),
    }  # fmt: skip


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
