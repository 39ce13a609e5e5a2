"""``prepare-models provenance``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ...errors import EXIT_MODEL_FAILED, EXIT_OK
from ...signing import envelopes, statements
from ...support.page import Table
from .. import printing
from ..options import add, add_table, command, share, signatures

EXAMPLE = "example:\n  prepare-models provenance verify ~/models --key key.pub"


def add_arguments(provenance: argparse.ArgumentParser) -> None:
    """Add what ``provenance`` takes."""
    actions = provenance.add_subparsers(dest="action", metavar="ACTION", required=True)
    sign = command(
        actions, "sign", "sign the statement next to each engine with your key", "~/models --key key.pem",
        more="exit status: 0 signed, 1 a statement is not true of its engine, 2 usage error, 3 a module is missing",
    )  # fmt: skip
    add(sign, "--key", "private key, PEM", Path, required=True)
    add(sign, "--password-file", "file that holds the key's password", Path)
    verify = command(
        actions, "verify", "check engines against their statements, and the statements against a public key",
        "~/models/peoplesemsegnet --key key.pub",
        more="exit status: 0 all are good, 1 one is not, 2 usage error, 3 a module is missing",
    )  # fmt: skip
    add(verify, "--key", "public key, PEM", Path, dest="public_key")
    add(verify, "--require-signed", "a trusted key must have signed")
    share(verify, "--trusted-keys")
    for action in (sign, verify):
        add(action, "places", "models directory, or one model's", Path, nargs="+", metavar="DIR")
        add_table(action, "findings")


def main(arguments: argparse.Namespace) -> int:
    """Sign the statements of engines, or check them."""
    folders = [folder for place in arguments.places for folder in statements.directories(place)]
    if arguments.action == "sign":
        signer = envelopes.private_key(arguments.key, arguments.password_file)
        findings = [statements.sign(folder, signer) for folder in folders]
    else:
        keys = signatures(arguments).keys()
        findings = [statements.verify(folder, keys) for folder in folders]
    rows = [(finding.model, "good" if finding.good else "BAD", finding.told) for finding in findings]
    document = {"engines": [asdict(finding) for finding in findings]}
    printing.result(arguments, document, Table(("MODEL", "VERDICT", "FINDING"), rows, 1))
    return EXIT_OK if all(finding.good for finding in findings) else EXIT_MODEL_FAILED
