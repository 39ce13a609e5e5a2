"""``prepare-models image``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract import sizes
from prepare_models_entrypoint.contract.files import atomic_file

from ...docker import images
from ...docker.container import Containers
from ...docker.daemon import LABEL, Image
from ...errors import EXIT_OK, UsageError
from ...machine import facts, platforms
from ...support.os_errors import writing
from ...support.page import Table, say
from .. import printing
from ..options import add, add_output, share

EXAMPLE = "example:\n  prepare-models image build\n  prepare-models image save --output prepare-models.tar"


def add_arguments(image: argparse.ArgumentParser) -> None:
    """Add what ``image`` takes."""
    image.add_argument("action", choices=("build", "pull", "list", "save", "load"))
    add(image, "file", "archive to load", Path, nargs="?")
    add(image, "--platform", "platform (default: this machine's)", "NAME")
    add(image, "--base-image", "build: another base image", "IMAGE")
    add(image, "--network", "build: network of the build, such as host", "NETWORK")
    share(image, "--arch", "build: another architecture, under emulation")
    add(image, "--tag", "build: another name (default: prepare-models:VERSION-PLATFORM)", "NAME:TAG")
    add(image, "--tao-converter", "build: put NVIDIA's converter into the image", Path)
    add(image, "--index-url", "build: package index in place of PyPI", "URL")
    add(image, "--ca", "build: certificates (PEM) of your network or index", Path)
    text = "build: argument of the Dockerfile, such as HTTPS_PROXY=http://proxy:3128; may be repeated"
    add(image, "--build-arg", text, _assignment, many=True, metavar="NAME=VALUE")
    add(image, "--registry", "pull: where the image is, such as registry.example/team", "PREFIX")
    add(image, "--output", "save: archive to write", Path)
    add_output(image)


def main(arguments: argparse.Namespace) -> int:
    """Run the action, for this machine's platform unless another is named."""
    actions: dict[str, Callable[[argparse.Namespace], list[Image]]] = {
        "build": _build,
        "pull": _pull,
        "list": _list,
        "save": _save,
        "load": _load,
    }
    found = actions[arguments.action](arguments)
    head = ("IMAGE", "PLATFORM", "ARCH", "CONTRACT", "SIZE", "ID")
    rows = [_row(image) for image in found]
    cells = [
        (
            row["image"], str(row["platform"]), row["arch"], str(row["contract"]), sizes.readable(row["bytes"]),
            row["id"].rpartition(":")[2][:12],
        )
        for row in rows
    ]  # fmt: skip
    printing.result(arguments, {"images": rows}, Table(head, cells))
    return EXIT_OK


def _build(arguments: argparse.Namespace) -> list[Image]:
    platform, tao_converter, ca = _platform(arguments), _file(arguments.tao_converter), _file(arguments.ca)
    index = {"PIP_INDEX_URL": arguments.index_url} if arguments.index_url else {}
    containers, build_args = Containers(), {**dict(arguments.build_arg), **index}
    lines = images.build(
        containers,
        platform,
        base_image=arguments.base_image,
        network=arguments.network,
        arch=arguments.arch,
        tao_converter=tao_converter,
        tag=arguments.tag,
        ca=ca,
        build_args=build_args,
    )
    _show(lines, arguments)
    return [containers.needed(arguments.tag or platform.image)]


def _pull(arguments: argparse.Namespace) -> list[Image]:
    platform = _platform(arguments)
    if not arguments.registry:
        raise UsageError(
            "there is no public registry of these images",
            hint="name yours with --registry PREFIX, or build the image: prepare-models image build",
        )
    reference = f"{arguments.registry.rstrip('/')}/{platform.image}"
    containers = Containers()
    _show(containers.pull(reference), arguments)
    containers.tag(reference, platform.image)
    return [containers.needed(platform.image)]


def _list(arguments: argparse.Namespace) -> list[Image]:
    return [
        image
        for image in Containers().images()
        if arguments.platform in (None, image.labels.get(f"{LABEL}.platform")) and image.tags
    ]


def _save(arguments: argparse.Namespace) -> list[Image]:
    if arguments.output is None:
        raise UsageError("image save needs a file", hint="add --output FILE")
    platform, containers = _platform(arguments), Containers()
    found = [containers.needed(platform.image)]
    with writing(arguments.output, "choose another file"), atomic_file(arguments.output) as stream:
        for piece in containers.save(platform.image):
            stream.write(piece)
    return found


def _load(arguments: argparse.Namespace) -> list[Image]:
    file = _file(arguments.file)
    if file is None:
        raise UsageError("image load needs a file", hint="prepare-models image load FILE")
    with file.open("rb") as stream:
        return Containers().load(stream)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    return name, value


def _platform(arguments: argparse.Namespace) -> platforms.Platform:
    return platforms.named(arguments.platform) if arguments.platform else platforms.pick(facts.probe()).platform


def _file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise UsageError(f"{path} is not a file", hint="check the path")
    return path


def _show(lines: Iterable[str], arguments: argparse.Namespace) -> None:
    for line in lines:
        if not arguments.quiet:
            say(line)


def _row(image: Image) -> dict[str, Any]:
    return {
        "image": image.tags[0] if image.tags else image.id,
        "platform": image.labels.get(f"{LABEL}.platform"),
        "arch": image.arch,
        "contract": image.labels.get(f"{LABEL}.contract"),
        "bytes": image.bytes,
        "id": image.id,
        "revision": image.labels.get("org.opencontainers.image.revision"),
    }
