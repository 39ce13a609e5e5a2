"""What commands share: arguments of several commands, and how values are read."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UsageError
from ..executors import NAMES
from ..options import Signatures

ARCHITECTURES = ("x86_64", "aarch64")

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from prepare_models_entrypoint.contract.kinds import Kind


Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no other name


def command(actions: Actions, name: str, summary: str, *examples: str, more: str = "") -> argparse.ArgumentParser:
    """Add an action of a command. ``examples``: what may follow its name. ``more``: what else its help says."""
    raw = argparse.RawDescriptionHelpFormatter
    made = actions.add_parser(name, help=summary, description=summary, formatter_class=raw)
    lines = [f"  {made.prog} {example}".rstrip() for example in examples]
    made.epilog = "\n".join(["example:", *lines, *(["", more] if more else [])])
    return made


def add_json(command: argparse.ArgumentParser, what: str = "result") -> None:
    """Add the option for machine-readable results."""
    command.add_argument("--json", action="store_true", help=f"print the {what} as JSON")


def add_wide(command: argparse.ArgumentParser) -> None:
    """Add the option for lines of any length."""
    command.add_argument("--wide", action="store_true", help="don't fit tables to the terminal")


def add_models_dir(command: argparse.ArgumentParser) -> None:
    """Add the models directory that a command works on."""
    command.add_argument("models_dir", type=Path, metavar="MODELS_DIR", help="Triton model repository")


def add_arch(command: argparse.ArgumentParser, what: str) -> None:
    """Add the option for an architecture. ``what``: whose it is."""
    command.add_argument("--arch", choices=ARCHITECTURES, help=what)


def add_target_dir(command: argparse.ArgumentParser, *names: str, what: str = "Triton model repository") -> None:
    """Add the option for the models directory that a command writes. ``names``: of the option."""
    names = names or ("--models-dir",)
    command.add_argument(*names, type=Path, default=Path("models"), metavar="DIR", help=f"{what} (default: ./models)")


def add_consumer(command: argparse.ArgumentParser, otherwise: str) -> None:
    """Add the option for the consumers whose rules apply. ``otherwise``: the default, in words."""
    command.add_argument(
        "--consumer", type=consumer, action="append", default=[], metavar="NAME[@RELEASE]",
        help=f"consumer to check for, such as triton or isaac-ros@5.0; may be repeated (default: {otherwise})",
    )  # fmt: skip


def add_deploy_dir(command: argparse.ArgumentParser, otherwise: str) -> None:
    """Add the option for the path at which consumers see the models directory."""
    command.add_argument(
        "--deploy-dir", type=deploy_dir, metavar="PATH",
        help=f"the models directory as the consumers see it, such as a mount of their container (default: {otherwise})",
    )  # fmt: skip


def add_table(command: argparse.ArgumentParser, what: str = "result") -> None:
    """Add the options of commands that print a table."""
    add_json(command, what)
    add_wide(command)


def add_output(command: argparse.ArgumentParser, *, table: bool = True) -> None:
    """Add the options of commands that report progress, and print a result, which may be a ``table``."""
    add_json(command)
    if table:
        add_wide(command)
    volume = command.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="no progress, errors only")
    volume.add_argument("-v", "--verbose", action="count", default=0, help="show details")
    command.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="format of the log on standard error"
    )


def positive(text: str) -> int:
    """Read a number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Read BINDING=NAME; a binding's name may contain equals signs."""
    binding, equals, name = text.rpartition("=")
    if not equals or not binding or not name:
        raise argparse.ArgumentTypeError(f"expected BINDING=NAME, found {text!r}")
    return binding, name


def consumer(text: str) -> str:
    """Read a consumer, such as triton or isaac-ros@5.0."""
    from prepare_models_entrypoint.contract.consumers import check

    return _checked(text, check)


def deploy_dir(text: str) -> str:
    """Read the models directory as consumers see it."""
    from prepare_models_entrypoint.contract.deployment import check_path

    return _checked(text, check_path)


def _checked(text: str, check: Callable[[str], str]) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def manifest(text: str) -> Path:
    """Read the path of a manifest; refuse the source of a model."""
    from prepare_models_entrypoint.contract.source import Source

    if Source.of(text).is_remote or text.startswith("catalog:"):
        convert = f"prepare-models convert {shlex.quote(text)}"
        raise argparse.ArgumentTypeError(f"{text!r} is a model, not a manifest; convert it: {convert}")
    return Path(text)


def beginning(text: str, names: Iterable[str], what: str, listing: str) -> str:
    """Return the one name that begins with a text: the first digits of a key, an id or a digest.

    ``what``: what they are, in the plural. ``listing``: the command that lists them.

    Raises:
        UsageError: none or several begin with it.
    """
    found = [name for name in names if name.startswith(text)]
    if len(found) != 1:
        raise UsageError(f"{len(found)} {what} begin with {text!r}", hint=f"{listing} lists them; give more digits")
    return found[0]


def value(kind: Kind, text: str) -> Any:
    """Read a value of a kind that manifests have, too."""
    try:
        return kind.parse(text)
    except ValueError as error:
        meant = kind.meant(text)
        asked = f"; did you mean {meant}?" if meant else ""
        raise argparse.ArgumentTypeError(f"expected {error}, found {text!r}{asked}") from None


def days(text: str) -> float:
    """Read a number of days."""
    return _number(text, "days", or_zero=True)


def seconds(text: str) -> float:
    """Read a number of seconds above 0."""
    return _number(text, "seconds above 0", or_zero=False)


def _number(text: str, of: str, *, or_zero: bool) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf") or (number == 0 and not or_zero):
        raise argparse.ArgumentTypeError(f"expected a number of {of}, found {text!r}")
    return number


def size(text: str) -> int:
    """Read a size such as 512MiB, or a number of bytes."""
    from prepare_models_entrypoint.contract.kinds import Size

    return int(text) if text.isdecimal() and text.isascii() else int(value(Size(), text))


def add_bases(command: argparse.ArgumentParser) -> None:
    """Add the option for bundles that another one needs."""
    command.add_argument(
        "--base", type=Path, action="append", default=[], metavar="FILE",
        help="bundle that this one builds on; may be repeated",
    )  # fmt: skip


def add_executor(command: argparse.ArgumentParser) -> None:
    """Add the options for where the work is done, and for containers."""
    command.add_argument("--executor", choices=NAMES, default="auto", help="where engines are built (default auto)")
    command.add_argument("--nice", action="store_true", help="let builds give way to other programs")
    group = command.add_argument_group("containers")
    group.add_argument("--platform", metavar="NAME", help="platform of the image (default: detected; see image list)")
    group.add_argument("--image", metavar="IMAGE", help="another image of this tool")
    group.add_argument("--gpu", metavar="GPU", help="none, all, a number or a UUID (default: all where one is needed)")
    group.add_argument("--memory", type=size, metavar="SIZE", help="memory of a container, such as 8GiB; 0: no limit")
    add_farm(command)


def add_farm(command: argparse.ArgumentParser) -> None:
    """Add how a farm is reached."""
    group = command.add_argument_group("farm")
    group.add_argument("--scheduler", metavar="ADDRESS", help="of the farm, such as tls://build.example:8786")
    for part, what in (("ca", "certificate of the authority"), ("cert", "own certificate"), ("key", "own private key")):
        group.add_argument(f"--tls-{part}", type=Path, metavar="FILE", help=f"PEM file of the {what}, for tls://")
    group.add_argument("--insecure", action="store_true", help="let tcp:// leave this machine; see docs/security.md")


def add_selection(command: argparse.ArgumentParser) -> None:
    """Add the options for the manifest or bundle, and the models in it, that a command works on."""
    command.add_argument(
        "manifest", type=manifest, nargs="?", metavar="MANIFEST", help="default: ./models.yaml; none with --bundle"
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="models to work on (default: all)")
    command.add_argument("--bundle", type=Path, metavar="FILE", help="take everything from a bundle, without a network")
    add_bases(command)
    add_delivery(command)
    command.add_argument("--locked", action="store_true", help="refuse whatever differs from the manifest's lock")
    add_require(command)


def add_delivery(command: argparse.ArgumentParser, *models_dir: str) -> None:
    """Add the options for where engines are built, where they go and for whom. ``models_dir``: names of its option."""
    add_target_dir(command, *models_dir)
    add_executor(command)
    command.add_argument(
        "--tensor-names",
        type=pair,
        nargs="+",
        action="extend",
        default=[],
        metavar="BINDING=NAME",
        help="tensor names in ROS 2 messages, for one model; ros: in the manifest does the same",
    )
    add_consumer(command, "the manifest's, else all")
    add_deploy_dir(command, "the manifest's, else where it is")
    command.add_argument("--force", action="store_true", help="rebuild engines that are up to date, too")


def add_key(command: argparse._ActionsContainer, does: str, *, required: bool = False) -> None:
    """Add the options for a private key. ``does``: what it is for."""
    command.add_argument("--sign", type=Path, required=required, metavar="KEY", help=f"private key (PEM) that {does}")
    command.add_argument("--password-file", type=Path, metavar="FILE", help="file that holds the key's password")


def add_sign(command: argparse.ArgumentParser) -> None:
    """Add the options that sign what a command writes."""
    group = command.add_argument_group("signature")
    add_key(group, "signs it")
    group.add_argument(
        "--series", metavar="NAME", help="series that this edition belongs to (default: the manifest's name)"
    )
    group.add_argument("--counter", type=int, metavar="N", help="number of the edition (default: the time)")


def add_require(command: argparse.ArgumentParser) -> None:
    """Add the options that require a signature."""
    group = command.add_argument_group("signature")
    group.add_argument("--require-signed", action="store_true", help="refuse what no trusted key signed")
    group.add_argument("--public-key", type=Path, metavar="FILE", help="the one key (PEM) that must have signed it")
    add_keys_file(group)


def add_keys_file(command: argparse._ActionsContainer) -> None:
    """Add the option that names the list of keys."""
    command.add_argument(
        "--trusted-keys", type=Path, metavar="FILE", help="list of trusted keys; see prepare-models trust"
    )


def signatures(arguments: argparse.Namespace) -> Signatures:
    """Return which signature the command line requires."""
    return Signatures(arguments.require_signed, arguments.public_key, arguments.trusted_keys)


def signer(arguments: argparse.Namespace) -> CryptoSigner | None:
    """Return the key that signs, or None for no signature. It is read before the work begins."""
    if arguments.sign is None:
        return None
    from ..signing import envelopes

    return envelopes.private_key(arguments.sign, arguments.password_file)
