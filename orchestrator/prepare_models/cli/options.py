"""What commands share: arguments of several commands, and how values are read."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UsageError
from ..executors import NAMES
from ..options import Signatures

ARCHITECTURES = ("x86_64", "aarch64")

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from prepare_models_entrypoint.contract.kinds import Kind


def add(
    command: argparse._ActionsContainer,
    names: str,
    what: str,
    kind: Callable[[str], object] | Sequence[str] | None = None,
    *,
    many: bool = False,
    **more: Any,
) -> None:
    """Add an argument, or an option, to a command or to a group of its options.

    ``what``: its help. ``kind``: how its value is read, what a text is called in help, or all values that there are;
    None for a flag. ``many``: whether the option may be repeated; its value is then a list.
    """
    if many:
        more |= {"action": "append", "default": []}
    if kind is None:
        more["action"] = "store_true"
    elif isinstance(kind, str):
        more["metavar"] = kind
    elif callable(kind):
        more = {"type": kind, "metavar": _CALLED.get(kind), **more}
    else:
        more["choices"] = kind
    command.add_argument(*names.split(), help=what, **more)


def share(command: argparse._ActionsContainer, name: str, own: str = "result") -> None:
    """Add an option that several commands have. ``own``: what its help says of this one."""
    text, kind, many = _SHARED[name]
    add(command, name, text.format(own), kind, many=many)


Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no other name


def command(actions: Actions, name: str, summary: str, *examples: str, more: str = "") -> argparse.ArgumentParser:
    """Add an action of a command. ``examples``: what may follow its name. ``more``: what else its help says."""
    raw = argparse.RawDescriptionHelpFormatter
    made = actions.add_parser(name, help=summary, description=summary, formatter_class=raw)
    lines = [f"  {made.prog} {example}".rstrip() for example in examples]
    made.epilog = "\n".join(["example:", *lines, *(["", more] if more else [])])
    return made


def add_target_dir(
    command: argparse.ArgumentParser, names: str = "--models-dir", *, what: str = "Triton model repository"
) -> None:
    """Add the option for the models directory that a command writes. ``names``: of the option."""
    add(command, names, f"{what} (default: ./models)", Path, default=Path("models"), metavar="DIR")


def add_table(command: argparse.ArgumentParser, what: str = "result") -> None:
    """Add the options of commands that print a table."""
    share(command, "--json", what)
    share(command, "--wide")


def add_output(command: argparse.ArgumentParser, *, table: bool = True) -> None:
    """Add the options of commands that report progress, and print a result, which may be a ``table``."""
    share(command, "--json")
    if table:
        share(command, "--wide")
    volume = command.add_mutually_exclusive_group()
    add(volume, "-q --quiet", "no progress, errors only")
    volume.add_argument("-v", "--verbose", action="count", default=0, help="show details")
    add(command, "--log-format", "format of the log on standard error", ("text", "json"), default="text")


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


def add_executor(command: argparse.ArgumentParser) -> None:
    """Add the options for where the work is done, for containers, and how a farm is reached."""
    add(command, "--executor", "where engines are built (default auto)", NAMES, default="auto")
    add(command, "--nice", "let builds give way to other programs")
    group = command.add_argument_group("containers")
    add(group, "--platform", "platform of the image (default: detected; see image list)", "NAME")
    add(group, "--image", "another image of this tool", "IMAGE")
    add(group, "--gpu", "none, all, a number or a UUID (default: all where one is needed)", "GPU")
    add(group, "--memory", "memory of a container, such as 8GiB; 0: no limit", size)
    group = command.add_argument_group("farm")
    add(group, "--scheduler", "of the farm, such as tls://build.example:8786", "ADDRESS")
    for part, what in (("ca", "certificate of the authority"), ("cert", "own certificate"), ("key", "own private key")):
        add(group, f"--tls-{part}", f"PEM file of the {what}, for tls://", Path)
    add(group, "--insecure", "let tcp:// leave this machine; see docs/security.md")


def add_selection(command: argparse.ArgumentParser) -> None:
    """Add the options for the manifest or bundle, and the models in it, that a command works on."""
    text = "default: ./models.yaml; none with --bundle"
    add(command, "manifest", text, manifest, nargs="?")
    add(command, "names", "models to work on (default: all)", "NAME", nargs="*")
    add(command, "--bundle", "take everything from a bundle, without a network", Path)
    share(command, "--base")
    add_delivery(command)
    add(command, "--locked", "refuse whatever differs from the manifest's lock")
    add_require(command)


def add_delivery(command: argparse.ArgumentParser, models_dir: str = "--models-dir") -> None:
    """Add the options for where engines are built, where they go and for whom. ``models_dir``: names of its option."""
    add_target_dir(command, models_dir)
    add_executor(command)
    text = "tensor names in ROS 2 messages, for one model; ros: in the manifest does the same"
    add(command, "--tensor-names", text, pair, nargs="+", action="extend", default=[])
    share(command, "--consumer", "the manifest's, else all")
    share(command, "--deploy-dir", "the manifest's, else where it is")
    add(command, "--force", "rebuild engines that are up to date, too")


def add_key(command: argparse._ActionsContainer, does: str, *, required: bool = False) -> None:
    """Add the options for a private key. ``does``: what it is for."""
    add(command, "--sign", f"private key (PEM) that {does}", Path, required=required, metavar="KEY")
    add(command, "--password-file", "file that holds the key's password", Path)


def add_sign(command: argparse.ArgumentParser) -> None:
    """Add the options that sign what a command writes."""
    group = command.add_argument_group("signature")
    add_key(group, "signs it")
    add(group, "--series", "series that this edition belongs to (default: the manifest's name)", "NAME")
    add(group, "--counter", "number of the edition (default: the time)", int, metavar="N")


def add_require(command: argparse.ArgumentParser) -> None:
    """Add the options that require a signature."""
    group = command.add_argument_group("signature")
    add(group, "--require-signed", "refuse what no trusted key signed")
    add(group, "--public-key", "the one key (PEM) that must have signed it", Path)
    share(group, "--trusted-keys")


def signatures(arguments: argparse.Namespace) -> Signatures:
    """Return which signature the command line requires."""
    return Signatures(arguments.require_signed, arguments.public_key, arguments.trusted_keys)


def signer(arguments: argparse.Namespace) -> CryptoSigner | None:
    """Return the key that signs, or None for no signature. It is read before the work begins."""
    if arguments.sign is None:
        return None
    from ..signing import envelopes

    return envelopes.private_key(arguments.sign, arguments.password_file)


# Options of several commands: help, in which {} is what each says of its own, kind, and whether it may be repeated.
_SHARED: dict[str, tuple[str, Callable[[str], object] | Sequence[str] | None, bool]] = {
    "--json": ("print the {} as JSON", None, False),
    "--wide": ("don't fit tables to the terminal", None, False),
    "--arch": ("{}", ARCHITECTURES, False),
    "--base": ("bundle that this one builds on; may be repeated", Path, True),
    "--consumer": (
        "consumer to check for, such as triton or isaac-ros@5.0; may be repeated (default: {})", consumer, True,
    ),
    "--deploy-dir": (
        "the models directory as the consumers see it, such as a mount of their container (default: {})", deploy_dir,
        False,
    ),
    "--ngc-key-file": ("file with the NGC key", Path, False),
    "--trusted-keys": ("list of trusted keys; see prepare-models trust", Path, False),
}  # fmt: skip

# What values are called in help, by how they are read.
_CALLED: dict[Callable[[str], object], str] = {
    Path: "FILE", positive: "N", seconds: "SECONDS", days: "DAYS", size: "SIZE", manifest: "MANIFEST",
    consumer: "NAME[@RELEASE]", deploy_dir: "PATH", pair: "BINDING=NAME",
}  # fmt: skip
