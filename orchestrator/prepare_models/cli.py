"""The command line. Only argparse is imported here: commands bring what they need when they run."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

from . import __version__

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

_LOCK_EXAMPLE = """\
example:
  prepare-models lock models.yaml
  prepare-models lock models.yaml --update peoplesemsegnet
  prepare-models lock models.yaml --check

exit status: 0 locked, or nothing drifted, 1 something drifted or can't be fetched, 2 usage or manifest error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""

_BUNDLE_EXAMPLE = """\
example:
  prepare-models bundle create models.yaml -o site.bundle --platform rtx
  prepare-models bundle verify site.bundle
  prepare-models run --bundle site.bundle --models-dir models

exit status: 0 good, 1 the bundle is damaged or incomplete, or something can't be had or drifted, 2 usage error,
3 this machine can't do it, 70 a bug, 130 interrupted
"""

_NGC_EXAMPLES = {
    "search": "peoplesemsegnet",
    "versions": "nvidia/tao/peoplesemsegnet",
    "files": "nvidia/tao/peoplesemsegnet:deployable_shuffleseg_unet_v1.0",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``prepare-models``."""
    root = argparse.ArgumentParser(
        prog="prepare-models",
        description="Turn pretrained networks into TensorRT engines for this machine, ready for Isaac ROS and Triton.",
        epilog="example:\n  prepare-models run models.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"prepare-models {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_plan(commands)
    _add_check(commands)
    _add_inspect(commands)
    _add_verify(commands)
    _add_decrypt(commands)
    _add_fetch(commands)
    _add_ngc(commands)
    _add_catalog(commands)
    _add_init(commands)
    _add_lock(commands)
    _add_bundle(commands)
    _add_schema(commands)
    _add_image(commands)
    _add_doctor(commands)
    return root


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _command(commands, "run", "fetch, convert and inspect the models of a manifest", _RUN_EXAMPLE)
    _add_selection(run)
    run.add_argument("--report", type=Path, metavar="FILE", help="write the run's report to FILE, too")
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
    check.add_argument("--json", action="store_true", help="print the reports as JSON")


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = _command(
        commands,
        "verify",
        "compare engines that are there with their source models, number by number",
        "example:\n  prepare-models verify models.yaml\n  prepare-models verify ~/models peoplesemsegnet --json\n\n"
        "exit status: 0 no engine is refused, 1 one is or could not be compared, 2 usage error, 3 a module is missing",
    )
    verify.add_argument("target", type=Path, metavar="MANIFEST|MODELS_DIR", help="models.yaml, or what run made of it")
    verify.add_argument("names", nargs="*", metavar="NAME", help="models to verify (default: all)")
    verify.add_argument(
        "--models-dir", type=Path, default=Path("models"), metavar="DIR", help="of a manifest (default: ./models)"
    )
    verify.add_argument("--json", action="store_true", help="print the reports as JSON")


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
    decrypt.add_argument("--json", action="store_true", help="print the result as JSON")


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


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fetch = _command(commands, "fetch", "download and verify files", _FETCH_EXAMPLE)
    fetch.add_argument("sources", nargs="+", metavar="SOURCE", help="what to fetch; #sha256=HEX pins it")
    fetch.add_argument("--output", "-o", type=Path, required=True, metavar="DIR", help="directory for the files")
    fetch.add_argument("--connections", type=_positive, default=16, metavar="N", help="files at once (default 16)")
    fetch.add_argument("--attempts", type=_positive, metavar="N", help="failures in a row without progress (default 5)")
    fetch.add_argument("--stall-timeout", type=float, metavar="SECONDS", help="silence that ends a try (default 30)")
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
        ask.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_catalog(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    catalog = _command(
        commands, "catalog", "look into the catalog of published models",
        "example:\n  prepare-models catalog search segmentation onnx",
    )  # fmt: skip
    asks = catalog.add_subparsers(dest="ask", metavar="QUESTION", required=True)
    listed = _command(asks, "list", "list every model", "example:\n  prepare-models catalog list --json")
    shown = _command(
        asks, "show", "print what is known of a model", "example:\n  prepare-models catalog show bi3d-featnet-2.0.0"
    )
    shown.add_argument("name", metavar="NAME", help="model of the catalog")
    searched = _command(
        asks, "search", "list the models in which every word occurs",
        "example:\n  prepare-models catalog search peoplenet onnx\n\nexit status: 0 found, 1 nothing found",
    )  # fmt: skip
    searched.add_argument("words", nargs="+", metavar="WORD", help="part of a name, task, file or source")
    for ask in (listed, shown, searched):
        ask.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = _command(
        commands, "init", "write a commented manifest with models of the catalog",
        "example:\n  prepare-models init peoplesemsegnet-shuffleseg-onnx bi3d-featnet-2.0.0 -o models.yaml",
    )  # fmt: skip
    init.add_argument("names", nargs="*", metavar="NAME", help="models of the catalog (default: one as an example)")
    init.add_argument(
        "-o", "--output", type=Path, default=Path("models.yaml"), metavar="FILE", help="default: models.yaml"
    )
    init.add_argument("--force", action="store_true", help="replace the file")


def _add_lock(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lock = _command(commands, "lock", "pin every byte that a manifest names, in a file beside it", _LOCK_EXAMPLE)
    lock.add_argument("manifest", type=Path, metavar="MANIFEST", help="models.yaml; its lock is models.lock")
    what = lock.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="write nothing, ask no server; say what drifted")
    what.add_argument(
        "--update", action="append", default=[], metavar="NAME", help="ask for this model's remote sources anew"
    )
    lock.add_argument(
        "--platform", action="append", metavar="NAME",
        help="local, or one of image list; several times (default: what run would take here)",
    )  # fmt: skip
    lock.add_argument("--accept-eula", action="store_true", help="accept the terms of models that have to be fetched")
    _add_output(lock)


def _add_bundle(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bundle = _command(
        commands, "bundle", "carry everything that a run needs to a machine without a network", _BUNDLE_EXAMPLE
    )
    actions = bundle.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_bundle_create(actions)
    verify = _command(
        actions, "verify", "check every byte of a bundle", "example:\n  prepare-models bundle verify site.bundle"
    )
    listed = _command(actions, "ls", "list what is in a bundle", "example:\n  prepare-models bundle ls site.bundle")
    for command in (verify, listed):
        command.add_argument("bundle", type=Path, metavar="FILE", help="bundle, or the first of its volumes")
    _add_bases(verify)
    verify.add_argument("--public-key", type=Path, metavar="FILE", help="Ed25519 key that must have signed it (PEM)")
    listed.add_argument("--json", action="store_true", help="print the index as JSON")
    _add_output(verify)


def _add_bundle_create(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    create = _command(
        actions, "create", "make a bundle from a locked manifest",
        "example:\n  prepare-models bundle create models.yaml -o site.bundle --platform rtx --split 4GB",
    )  # fmt: skip
    create.add_argument("manifest", type=Path, metavar="MANIFEST", help="models.yaml, with its lock beside it")
    create.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="bundle to write")
    create.add_argument(
        "--platform", action="append", default=[], metavar="NAME[=IMAGE]",
        help="put this platform's image in; local: wheels that build without containers; several times",
    )  # fmt: skip
    _add_bases(create)
    create.add_argument("--split", type=_size, metavar="SIZE", help="write volumes of this size, such as 4GB")
    create.add_argument("--python", metavar="VERSION", help="Python that installs the wheels (default: this one's)")
    create.add_argument("--arch", choices=("x86_64", "aarch64"), help="its machine (default: this one's)")
    create.add_argument("--wheels", type=Path, metavar="DIR", help="take wheels from DIR before any other")
    create.add_argument("--no-wheels", dest="with_wheels", action="store_false", help="leave the tool itself out")
    create.add_argument("--engines", action="store_true", help="put in the engines that were built here")
    create.add_argument("--timing-caches", action="store_true", help="put in what builds here found out")
    create.add_argument("--sign-key", type=Path, metavar="FILE", help="private Ed25519 key (PEM) that signs the bundle")
    create.add_argument("--accept-eula", action="store_true", help="accept the terms of models that the manifest marks")
    _add_output(create)


def _add_bases(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--base", type=Path, action="append", default=[], metavar="FILE",
        help="bundle whose contents need not be repeated; several times",
    )  # fmt: skip


def _add_schema(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    schema = _command(
        commands, "schema", "print a JSON Schema", "example:\n  prepare-models schema manifest > models.schema.json"
    )
    schema.add_argument("document", choices=("manifest", "report"))


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, epilog: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=summary, description=summary, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


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
    command.add_argument(
        "--executor", choices=("auto", "local", "docker"), default="auto", help="where engines are built"
    )
    _add_containers(command)
    command.add_argument("--force", action="store_true", help="build engines that are up to date, too")
    command.add_argument("--locked", action="store_true", help="refuse whatever differs from the manifest's lock")


def _add_containers(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("containers")
    group.add_argument("--platform", metavar="NAME", help="platform of the image (default: found out; see image list)")
    group.add_argument("--image", metavar="IMAGE", help="another image of this tool")
    group.add_argument("--gpu", metavar="GPU", help="none, all, a number or a UUID (default: all where one is needed)")
    group.add_argument("--memory", type=_size, metavar="SIZE", help="memory of a container, such as 8GiB; 0: no limit")


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


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    volume = command.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    volume.add_argument("-v", "--verbose", action="count", default=0, help="tell details")
    command.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="form of the log on standard error"
    )


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Names of models may stand behind options, too, where argparse does not take them."""
    root = parser()
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


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, found {text!r}")
    return seconds


def _size(text: str) -> int:
    units = {"": 1, "MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
    number = text.rstrip("MGBi")
    unit = text[len(number) :].strip()
    if unit not in units or not number.strip().replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"expected a size such as 512MiB or 8GiB, found {text!r}")
    return int(float(number) * units[unit])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    arguments = parse(argv)
    command = importlib.import_module(f"{__package__}.commands.{arguments.command}")
    status: int = command.main(arguments)
    return status
