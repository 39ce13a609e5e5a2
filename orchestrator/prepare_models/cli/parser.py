"""The command line. Only argparse is imported here: commands import what they need when they run."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from .. import __version__
from ..errors import UsageError

DEFAULT_MANIFEST = "models.yaml"

# A command is a module with its name under ``commands``, with EXAMPLE, add_arguments(parser) and main(arguments).
COMMANDS = {
    "convert": "convert one model, without a manifest",
    "run": "fetch, convert and inspect the models of a manifest",
    "provision": "bring a models directory to what a manifest asks for, switching each model in one step",
    "rollback": "make an earlier version of a provisioned model current again",
    "plan": "print what run would do, and why",
    "validate": "check manifests and their locks, without TensorRT and without a network",
    "check": "check the models of a manifest in seconds, without building anything",
    "rewrite": "write the ONNX graph that an engine is built from",
    "inspect": "describe model files: inputs, outputs, memory, profiles, layers",
    "lint": "check a models directory against what Isaac ROS, Triton and DeepStream need",
    "decrypt": "write the ONNX model of an encrypted .etlt, for a machine that has no codec",
    "fetch": "download and verify files",
    "ngc": "search NGC's catalog",
    "gather": "write one Triton repository of engines that several GPUs built",
    "relocate": "rewrite the files that consumers read for another directory; nothing is built",
    "verify": "compare engines with their source models, output by output",
    "report": "render a report for people or CI, or compare two",
    "provenance": "sign or verify the provenance of engines",
    "catalog": "search the catalog of published models",
    "init": "write a commented manifest for model files, URLs and models of the catalog",
    "trust": "list the keys that are trusted to sign bundles, locks and engines",
    "lock": "pin every byte that a manifest names, in a file next to it",
    "bundle": "carry everything that a run needs to a machine without a network",
    "schema": "print a JSON Schema",
    "image": "build, pull, list, save or load the container images",
    "doctor": "check what this machine lacks, and how to fix it",
    "selftest": "build, load and compare a small network on this machine, with a verdict for each step",
    "worker": "build engines for a farm, as one of its machines",
    "status": "list which engines are valid on this machine, and why others are not",
    "fleet": "show many machines, out of the statuses that provision wrote there",
    "cache": "list, show, verify or prune what is kept for later runs",
    "store": "put engines into a store that machines share, take them from there, list or remove them",
    "completion": "print a script that completes command lines in bash, zsh or fish",
    "man": "print the manual page",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are not hidden by a screenful of options."""

    def error(self, message: str) -> NoReturn:
        """Refuse an invalid command line.

        Raises:
            UsageError: always.
        """
        raise UsageError(message, hint=f"see {self.prog} --help", about=self.prog)


def parser(*names: str) -> argparse.ArgumentParser:
    """Return the parser of ``prepare-models``. ``names``: commands whose options are added; empty: all."""
    root = Parser(
        prog="prepare-models",
        description="Turn pretrained networks into TensorRT engines for this machine, ready for Isaac ROS and Triton.",
        epilog="example:\n  prepare-models convert model.onnx --precision fp16",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"prepare-models {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in [name for name in names if name in COMMANDS] or COMMANDS:
        wanted = name in (names or COMMANDS)
        command = commands.add_parser(name, help=COMMANDS[name], add_help=wanted)
        if wanted:
            module = _module(name)
            command.description, command.epilog = COMMANDS[name], module.EXAMPLE
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(command)
    return root


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"{__package__}.commands.{command}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Names of models may also follow options, where argparse doesn't accept them."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:2] == ["provision", "install-unit"]:  # an action, which argparse can't take in place of a manifest
        argv[1] = "--install-unit"
    root = parser(argv[0] if argv else "")
    arguments, rest = root.parse_known_args(argv)
    if rest and (any(word.startswith("-") for word in rest) or not hasattr(arguments, "names")):
        about = f"{root.prog} {arguments.command}"
        raise UsageError(f"unrecognized arguments: {' '.join(rest)}", hint=f"see {about} --help", about=about)
    if rest:
        arguments.names += rest
    arguments.argv = argv
    if hasattr(arguments, "bundle") and arguments.command in ("run", "plan", "provision"):
        _settle_manifest(arguments)
    return arguments


def _settle_manifest(arguments: argparse.Namespace) -> None:
    """Treat the first positional argument as a model's name if there is a bundle, which contains its manifest."""
    if arguments.command == "provision" and arguments.bundle is None and arguments.manifest is not None:
        from ..bundle import is_bundle

        if is_bundle(arguments.manifest):
            arguments.bundle, arguments.manifest = arguments.manifest, None
    if arguments.bundle is None and arguments.manifest is None:
        from pathlib import Path

        arguments.manifest = Path(DEFAULT_MANIFEST)
        if not arguments.manifest.exists():
            raise UsageError(
                f"there is no {DEFAULT_MANIFEST} here",
                hint=(
                    "name another MANIFEST, write one with prepare-models init MODEL, or convert a single model without"
                    " one: prepare-models convert MODEL"
                ),
            )
    if arguments.bundle is not None and arguments.manifest is not None:
        arguments.names = [str(arguments.manifest), *arguments.names]
        arguments.manifest = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = parse(argv)
    status: int = _module(arguments.command).main(arguments)
    return status
