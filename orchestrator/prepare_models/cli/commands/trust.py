"""``prepare-models trust``: whose bundles, locks and engines this user accepts."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

from ...errors import EXIT_OK
from ...signing import envelopes, trust
from ...support.page import Part, Table, show
from .. import printing
from ..options import add, add_key, beginning, command, share

EXAMPLE = """\
example:
  prepare-models trust add depot.pub --name depot --expires 2027-06-30
  prepare-models trust update keys.dsse.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``trust`` takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    grant = command(actions, "add", "trust a public key", "depot.pub --name depot")
    add(grant, "public_key", "public key, PEM: Ed25519, ECDSA or RSA", Path, metavar="PUBLIC")
    grant.add_argument("--name", default="", help="whose it is")
    add(grant, "--expires", "day from which it no longer counts", _date, metavar="YYYY-MM-DD")
    text = "contents: bundles, locks, engines (default); keys: lists of keys; may be repeated"
    add(grant, "--for", text, trust.PURPOSES, dest="signs", many=True)
    revoke = command(actions, "revoke", "stop trusting a key", "3f9a")
    add(revoke, "id", "the key's id; its first digits are enough", "ID")
    listed = command(actions, "ls", "list the trusted keys", "")
    what = "write a signed list of keys, for machines that trust its signer"
    export = command(actions, "export", what, "--sign root.pem -o keys.dsse.json")
    add(export, "-o --output", "file to write", Path, required=True)
    add_key(export, "may sign lists", required=True)
    update = command(actions, "update", "adopt a signed list of keys", "keys.dsse.json")
    add(update, "list", "list written by trust export", Path)
    for action in (grant, revoke, listed, export, update):
        share(action, "--trusted-keys")
    share(listed, "--json")


def _date(text: str) -> str:
    try:
        return f"{dt.date.fromisoformat(text).isoformat()}T00:00:00Z"
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a day such as 2027-06-30, found {text!r}") from None


def main(arguments: argparse.Namespace) -> int:
    """Change the list of keys, or print it."""
    file = trust.place(arguments.trusted_keys)
    keys = trust.load(file)
    if arguments.action == "ls":
        printing.result(arguments, json.loads(keys.to_json()), *_shown(keys))
        return EXIT_OK
    changes = {"add": _add, "revoke": _revoke, "export": _export, "update": _update}
    following, lines = changes[arguments.action](keys, arguments)
    trust.save(file, following)
    show(*lines)
    return EXIT_OK


def _add(keys: trust.KeyList, arguments: argparse.Namespace) -> tuple[trust.KeyList, list[Part]]:
    signs = tuple(dict.fromkeys(arguments.signs or [trust.CONTENTS]))
    following, keyid = keys.with_key(arguments.public_key, arguments.name, arguments.expires, signs)
    return following, [f"trusted  {keyid}"]


def _revoke(keys: trust.KeyList, arguments: argparse.Namespace) -> tuple[trust.KeyList, list[Part]]:
    keyid = beginning(arguments.id, keys.keys, "keys", "prepare-models trust ls")
    revoked = replace(keys.keys[keyid], revoked=True)
    return replace(keys, keys={**keys.keys, keyid: revoked}), [f"revoked  {keyid}"]


def _export(keys: trust.KeyList, arguments: argparse.Namespace) -> tuple[trust.KeyList, list[Part]]:
    signer = envelopes.private_key(arguments.sign, arguments.password_file)
    following = trust.export(keys, signer, arguments.output)
    return following, [f"list {following.counter}  {arguments.output}"]


def _update(keys: trust.KeyList, arguments: argparse.Namespace) -> tuple[trust.KeyList, list[Part]]:
    following = trust.renewed(keys, arguments.list)
    return following, _shown(following)


def _shown(keys: trust.KeyList) -> list[Part]:
    rows = [
        (keyid[:16], key.name, ", ".join(key.signs), "revoked" if key.revoked else key.expires or "never")
        for keyid, key in keys.keys.items()
    ]
    return [Table(("KEY", "NAME", "SIGNS", "EXPIRES"), rows), f"list {keys.counter}, {len(keys.keys)} keys"]
