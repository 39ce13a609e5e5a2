"""The command line. Only argparse is imported here: commands bring what they need when they run."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from . import results, sources, store
from .options import add_bases as _add_bases
from .options import add_consumer as _add_consumer
from .options import add_deploy_dir as _add_deploy_dir
from .options import add_executor as _add_executor
from .options import add_json as _add_json
from .options import add_models_dir as _add_models_dir
from .options import add_output as _add_output
from .options import command as _command
from .options import pair as _pair
from .options import positive as _positive
from .options import seconds as _seconds

_FETCH_EXAMPLE = """\
example:
  prepare-models fetch ngc://nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0 --output models
  prepare-models fetch https://example.com/models.tar.gz!inner/model.onnx#sha256=HEX --output models

A SOURCE is a path, an https://, ngc:// or s3:// URL, any URL of NGC that its pages show, or a member of an archive.

exit status: 0 all bytes are there and verified, 1 a source failed, 2 usage error, 3 DIR can't be used,
70 a bug, 130 interrupted
"""

_RUN_EXAMPLE = """\
example:
  prepare-models run models.yaml --models-dir ~/models
  prepare-models run models.yaml peoplesemsegnet --force --json > report.json

exit status: 0 all models good, 1 a model failed, 2 usage or manifest error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""

_NGC_EXAMPLES = {
    "search": "peoplesemsegnet",
    "versions": "nvidia/tao/peoplesemsegnet",
    "files": "nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0",
}


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of ``prepare-models``.

    Args:
        only: name of a command, whose options alone are added: all of them take as long as a warm run of ten models.
    """
    root = argparse.ArgumentParser(
        prog="prepare-models",
        description="Turn pretrained networks into TensorRT engines for this machine, ready for Isaac ROS and Triton.",
        epilog="example:\n  prepare-models run models.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"prepare-models {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add in _COMMANDS.items():
        if only == name or only not in _COMMANDS:
            add(commands)
    return root


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _command(commands, "run", "fetch, convert and inspect the models of a manifest", _RUN_EXAMPLE)
    _add_selection(run)
    run.add_argument("--report", type=Path, metavar="FILE", help="write the run's report to FILE, too")
    for form in ("html", "markdown", "junit"):
        run.add_argument(f"--report-{form}", type=Path, metavar="FILE", help=f"write it as {form}, too")
    run.add_argument("--jobs", type=_positive, default=1, metavar="N", help="models to work on at once (default 1)")
    run.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="longest time for the conversion of one model")
    ending = run.add_mutually_exclusive_group()
    ending.add_argument(
        "--keep-going",
        dest="fail_fast",
        action="store_const",
        const=False,
        help="a failure stops nothing else (default)",
    )
    ending.add_argument("--fail-fast", action="store_const", const=True, help="start no further model after a failure")
    run.add_argument("--accept-eula", action="store_true", help="accept the terms of models that the manifest marks")
    run.add_argument("--dry-run", action="store_true", help="only print what would be done, like plan")
    _add_output(run)


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = _command(
        commands, "plan", "print what run would do, and why", "example:\n  prepare-models plan models.yaml --json"
    )
    _add_selection(plan)
    _add_output(plan)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = _command(
        commands,
        "check",
        "judge the models of a manifest in seconds, without building anything",
        "example:\n  prepare-models check models.yaml",
    )
    check.add_argument("manifest", type=Path, metavar="MANIFEST", help="models.yaml")
    check.add_argument("names", nargs="*", metavar="NAME", help="models to check (default: all)")
    _add_executor(check)
    _add_json(check, "reports")


def _add_decrypt(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    decrypt = _command(
        commands,
        "decrypt",
        "write the ONNX model of an encrypted .etlt, for a machine that has no codec",
        "example:\n  prepare-models decrypt model.etlt --key-file key.txt -o model.onnx",
    )
    decrypt.add_argument("file", type=Path, metavar="FILE", help=".etlt")
    decrypt.add_argument("--key-file", type=Path, metavar="FILE", required=True, help="file that holds the key")
    decrypt.add_argument(
        "-o", "--output", type=Path, metavar="FILE", required=True, help=".onnx to write, readable by you alone"
    )
    _add_json(decrypt)


def _add_inspect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    inspect = _command(
        commands,
        "inspect",
        "print what model files are: inputs, outputs, memory, profiles, layers",
        "example:\n  prepare-models inspect models/peoplesemsegnet/1/model.plan\n"
        "  prepare-models inspect models --json\n\nexit status: 0 all files were read, 1 one could not be",
    )
    inspect.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help=".onnx, .etlt, .plan, .engine or a models directory"
    )
    inspect.add_argument("--layers", action="store_true", help="list the layers")
    inspect.add_argument("--weights", action="store_true", help="list the weights of an ONNX model")
    inspect.add_argument("--view", action="store_true", help="show the graph of an .onnx in Netron, too")
    inspect.add_argument("--key-file", type=Path, metavar="FILE", help="file that holds the key of an .etlt")
    _add_output(inspect)


def _add_lint(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = _command(
        commands,
        "lint",
        "check a models directory against what Isaac ROS, Triton and DeepStream need",
        "example:\n  prepare-models lint models\n\nexit status: 0 no findings, 1 findings",
    )
    _add_models_dir(lint)
    _add_consumer(lint, "what the record of a model names, else all; DeepStream where it has a file")
    _add_json(lint, "findings")


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fetch = _command(commands, "fetch", "download and verify files", _FETCH_EXAMPLE)
    fetch.add_argument("sources", nargs="+", metavar="SOURCE", help="what to fetch; #sha256=HEX pins it")
    fetch.add_argument("--output", "-o", type=Path, required=True, metavar="DIR", help="directory for the files")
    fetch.add_argument("--connections", type=_positive, default=16, metavar="N", help="files at once (default 16)")
    fetch.add_argument("--attempts", type=_positive, metavar="N", help="failures in a row without progress (default 5)")
    fetch.add_argument("--stall-timeout", type=_seconds, metavar="SECONDS", help="silence that ends a try (default 30)")
    fetch.add_argument("--headers-file", type=Path, metavar="FILE", help="file of Name: value lines, for https")
    fetch.add_argument("--ngc-key-file", type=Path, metavar="FILE", help="file with the NGC key")
    _add_output(fetch)


def _add_ngc(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ngc = _command(commands, "ngc", "look into NGC's catalogue", "example:\n  prepare-models ngc search segmentation")
    asks = ngc.add_subparsers(dest="ask", metavar="QUESTION", required=True)
    questions = {
        "search": ("find models", "QUERY", "words"),
        "versions": ("list the versions of a model", "MODEL", "org/team/model"),
        "files": ("list the files of a version, with their digests", "MODEL:VERSION", "org/team/model:version"),
    }
    for name, (summary, metavar, text) in questions.items():
        ask = _command(asks, name, summary, f"example:\n  prepare-models ngc {name} {_NGC_EXAMPLES[name]}")
        ask.add_argument("about", metavar=metavar, help=text)
        if name == "search":
            ask.add_argument("--limit", type=_positive, default=25, metavar="N", help="most results (default 25)")
        ask.add_argument("--ngc-key-file", type=Path, metavar="FILE", help="file with the NGC key")
        _add_json(ask)


def _add_schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    schema = _command(
        commands, "schema", "print a JSON Schema", "example:\n  prepare-models schema manifest > models.schema.json"
    )
    schema.add_argument("document", choices=("manifest", "report"))


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("manifest", type=Path, nargs="?", metavar="MANIFEST", help="models.yaml; none with --bundle")
    command.add_argument("names", nargs="*", metavar="NAME", help="models to work on (default: all)")
    command.add_argument("--bundle", type=Path, metavar="FILE", help="take everything from a bundle, and no network")
    command.add_argument("--public-key", type=Path, metavar="FILE", help="Ed25519 key that must have signed the bundle")
    _add_bases(command)
    command.add_argument(
        "--models-dir",
        type=Path,
        default=Path("models"),
        metavar="DIR",
        help="Triton model repository (default: ./models)",
    )
    _add_executor(command)
    command.add_argument(
        "--tensor-names",
        type=_pair,
        nargs="+",
        action="extend",
        default=[],
        metavar="BINDING=NAME",
        help="names in ROS 2 messages, of one model; ros: in the manifest does the same",
    )
    _add_consumer(command, "what the manifest says, else all")
    _add_deploy_dir(command, "what the manifest says, else where it is")
    command.add_argument("--force", action="store_true", help="build engines that are up to date, too")
    command.add_argument("--locked", action="store_true", help="refuse whatever differs from the manifest's lock")


def _add_image(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    image = _command(
        commands,
        "image",
        "build, pull, list, save or load the container images",
        "example:\n  prepare-models image build\n  prepare-models image save --output prepare-models.tar",
    )
    image.add_argument("action", choices=("build", "pull", "list", "save", "load"))
    image.add_argument("file", type=Path, nargs="?", metavar="FILE", help="archive to load")
    image.add_argument("--platform", metavar="NAME", help="platform (default: this machine's)")
    image.add_argument("--base-image", metavar="IMAGE", help="build: another base")
    image.add_argument("--network", metavar="NETWORK", help="build: network of the build, such as host")
    image.add_argument("--arch", choices=("x86_64", "aarch64"), help="build: another architecture, under emulation")
    image.add_argument(
        "--tag", metavar="NAME:TAG", help="build: another name (default: prepare-models:VERSION-PLATFORM)"
    )
    image.add_argument(
        "--tao-converter", type=Path, metavar="FILE", help="build: put NVIDIA's converter into the image"
    )
    image.add_argument("--registry", metavar="PREFIX", help="pull: where the image lies, such as registry.example/team")
    image.add_argument("--output", type=Path, metavar="FILE", help="save: archive to write")
    _add_output(image)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = _command(
        commands, "doctor", "check what containers need on this machine, and say how to fix it",
        "example:\n  prepare-models doctor --models-dir ~/models\n\nexit status: 0 nothing fails, 1 something does",
    )  # fmt: skip
    doctor.add_argument("--models-dir", type=Path, default=Path("models"), metavar="DIR", help="default: ./models")
    doctor.add_argument("--platform", metavar="NAME", help="platform to check (default: this machine's)")
    doctor.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="describe the machine below DIR")
    doctor.add_argument("--arch", choices=("x86_64", "aarch64"), help="with --root: that machine's architecture")
    _add_output(doctor)


_COMMANDS = {
    "run": _add_run, "plan": _add_plan, "check": _add_check, "inspect": _add_inspect, "lint": _add_lint,
    "decrypt": _add_decrypt, "fetch": _add_fetch, "ngc": _add_ngc, **results.COMMANDS, **sources.COMMANDS,
    "schema": _add_schema, "image": _add_image, "doctor": _add_doctor, **store.COMMANDS,
}  # fmt: skip


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Names of models may stand behind options, too, where argparse does not take them."""
    argv = sys.argv[1:] if argv is None else argv
    root = parser(argv[0] if argv else None)
    arguments, rest = root.parse_known_args(argv)
    if rest and (any(word.startswith("-") for word in rest) or not hasattr(arguments, "names")):
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.names += rest
    if hasattr(arguments, "bundle") and arguments.command in ("run", "plan"):
        _settle_manifest(root, arguments)
    return arguments


def _settle_manifest(root: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """A bundle brings its manifest, so what stands in its place is the first name of a model."""
    if arguments.bundle is None and arguments.manifest is None:
        root.error("the following arguments are required: MANIFEST")
    if arguments.bundle is not None and arguments.manifest is not None:
        arguments.names = [str(arguments.manifest), *arguments.names]
        arguments.manifest = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = parse(argv)
    command = importlib.import_module(f"{__package__}.commands.{arguments.command}")
    status: int = command.main(arguments)
    return status
