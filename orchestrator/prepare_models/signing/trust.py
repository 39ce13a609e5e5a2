"""The keys that this user trusts: a list with expiry and revocation, replaced by a signed list of a higher counter."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import read_small, write_atomic
from prepare_models_entrypoint.contract.values import Value

from ..errors import HostError, SignatureError, UsageError
from ..support import paths
from ..support.os_errors import writing
from . import envelopes
from .envelopes import RefusedError, short

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key

VERSION = 1
CONTENTS, KEYS = PURPOSES = ("contents", "keys")
_PAYLOAD_TYPE = "application/vnd.prepare-models.keys+json"
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NEWER = "prepare-models trust update FILE, with the newest list of signers"


def unknown(keyid: str) -> RefusedError:
    """Return the refusal of a key that is not in the list."""
    return RefusedError(
        f"the {short(keyid)} is not trusted here", "if you trust it: prepare-models trust add PUBLIC.pem"
    )


class TrustedKey(Value):
    """A public key. ``public``: PEM. ``expires``: time in UTC; None for never. ``signs``: some of ``PURPOSES``."""

    public: str
    name: str = ""
    expires: str | None = None
    signs: tuple[str, ...] = (CONTENTS,)
    revoked: bool = False

    def objection(self, purpose: str) -> str | None:
        """Return why this key is not valid for a purpose now, or None."""
        if self.revoked:
            return "was revoked"
        if purpose not in self.signs:
            return f"may not sign {purpose}"
        if self.expires is not None and time_of(self.expires) <= dt.datetime.now(dt.timezone.utc):
            return f"expired on {self.expires}"
        return None


class KeyList(Value):
    """Trusted keys by id. ``counter``: that of the last signed list that replaced it."""

    keys: Mapping[str, TrustedKey] = field(default_factory=dict)
    counter: int = 0
    version: int = VERSION

    def key(self, keyid: str, purpose: str) -> Key:
        """Return a key that may sign for a purpose now.

        Raises:
            RefusedError: it is unknown, revoked, expired, or not for this.
        """
        known = self.keys.get(keyid)
        if known is None:
            raise unknown(keyid)
        objection = known.objection(purpose)
        if objection is not None:
            raise RefusedError(f"the {short(keyid)} ({known.name or 'unnamed'}) {objection}", _NEWER)
        try:
            key = envelopes.public_key(known.public.encode("ascii"))
        except (ValueError, TypeError):
            raise RefusedError(f"the {short(keyid)} is damaged in the list of keys", _NEWER) from None
        if key.keyid != keyid:
            raise RefusedError(f"the {short(keyid)} does not match its name in the list of keys", _NEWER)
        return key

    def with_key(self, file: Path, name: str, expires: str | None, signs: tuple[str, ...]) -> tuple[KeyList, str]:
        """Return the list with an additional public key, and the key's id."""
        keyid, pem = envelopes.public_pem(file)
        return replace(self, keys={**self.keys, keyid: TrustedKey(pem, name, expires, signs)}), keyid

    def to_json(self) -> str:
        """Return the serialized document; equal keys give equal text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def time_of(text: str) -> dt.datetime:
    """Return a time in the form that lists have."""
    return dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.timezone.utc)


def of_public_key(file: Path) -> KeyList:
    """Return a list with one key, given by the user, which never expires."""
    return KeyList().with_key(file, str(file), None, (CONTENTS,))[0]


def place(given: Path | None) -> Path:
    """Return the path of the given list of keys, or of the user's own."""
    return paths.keys_file() if given is None else given.absolute()


def load(file: Path) -> KeyList:
    """Return the list in a file that only this user and root may write; an empty list if there is no file.

    Raises:
        UsageError: it is not a list of keys. HostError: it can't be read, or others may write it.
    """
    try:
        data = read_small(file)
        paths.refuse_others(file, f"{file} can't be trusted as a list of keys")
    except FileNotFoundError:
        return KeyList()
    except OSError as error:
        raise HostError(f"{file} can't be read: {error.strerror}", hint="give read access to it") from None
    try:
        return parse(data)
    except ContractError as error:
        raise UsageError(
            f"{file} is not a list of keys: {error}", hint="restore it, or start again with trust add"
        ) from None


def parse(data: bytes) -> KeyList:
    """Return the list in a document.

    Raises:
        ContractError: it is not one.
    """
    found = schema.read(KeyList, schema.loads(data), "keys")
    if found.version != VERSION:
        raise ContractError(f"it has version {found.version}, but this tool reads {VERSION}")
    for keyid, key in found.keys.items():
        try:
            time_of(key.expires or "2000-01-01T00:00:00Z")
            key.public.encode("ascii")
        except ValueError as error:
            raise ContractError(f"keys.{keyid[:16]}: {error}") from None
        if not set(key.signs) <= set(PURPOSES):
            raise ContractError(f"keys.{keyid[:16]}.signs: expected some of {', '.join(PURPOSES)}")
    return found


def save(file: Path, keys: KeyList) -> None:
    """Write a list atomically."""
    with writing(file, "name another with --trusted-keys"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, keys.to_json().encode("utf-8"))


def export(keys: KeyList, signer: CryptoSigner, target: Path) -> KeyList:
    """Write the next signed list, and return it.

    Raises:
        SignatureError: the key is not one that may renew lists.
    """
    following = replace(keys, counter=keys.counter + 1)
    try:
        keys.key(signer.public_key.keyid, KEYS)
    except RefusedError as refusal:
        raise SignatureError("keys", str(refusal), hint="prepare-models trust add PUBLIC.pem --for keys") from None
    write_atomic(target, envelopes.seal(following.to_json().encode("utf-8"), _PAYLOAD_TYPE, signer))
    return following


def renewed(keys: KeyList, signed: Path) -> KeyList:
    """Return the list in an envelope, signed by a key that the current list trusts for this.

    Raises:
        SignatureError: it is not signed like this, or not newer than the current list.
    """
    try:
        payload, _ = envelopes.unseal(envelopes.read(signed), _PAYLOAD_TYPE, lambda keyid: keys.key(keyid, KEYS))
        following = parse(payload)
    except ContractError as error:
        raise SignatureError("keys", f"{signed} is not a list of keys: {error}") from None
    except RefusedError as refusal:
        raise SignatureError("keys", f"{signed}: {refusal}", hint=refusal.hint) from None
    if following.counter <= keys.counter and following != keys:
        why = f"{signed} has counter {following.counter}, the list here has {keys.counter} already"
        raise SignatureError("keys", why, hint="get the newest list")
    return following
