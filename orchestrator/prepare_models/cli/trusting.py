"""Options for signatures that commands share: signing with a key, and requiring a signature."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..signing.required import Signatures

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


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
