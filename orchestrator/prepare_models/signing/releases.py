"""Signed bundles and locks: an in-toto statement says which bytes, of which series, and with which counter.

The counter only rises: anything older than the last accepted edition of its series is refused despite its signature.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import TypedDict

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import read_small, write_atomic, write_own
from prepare_models_entrypoint.contract.provenance import STATEMENT_TYPE
from prepare_models_entrypoint.contract.values import Value

from ..errors import HostError, SignatureError
from ..running.writer_lock import flocked
from ..support import paths
from ..support.os_errors import writing
from . import envelopes
from .envelopes import RefusedError
from .trust import CONTENTS, KeyList

BUNDLE, LOCK = "bundle", "lock"
_PREDICATE = "https://github.com/prepare-models/prepare-models/blob/main/docs/signatures.md#release-version-1"


class Release(Value):
    """What was signed. ``kind``: bundle or lock. ``sha256``: of its index, or of the lock's canonical form."""

    kind: str
    series: str
    counter: int
    sha256: str


class _Statement(TypedDict):
    predicateType: str
    predicate: Release


class Signed(Value):
    """A release and the id of the key that signed it."""

    release: Release
    keyid: str


class _Accepted(Value):
    """The last accepted edition of each kind and series."""

    accepted: Mapping[str, Release] = field(default_factory=dict)
    version: int = 1


def signature_of(file: Path) -> Path:
    """Return the path of a file's signature."""
    return file.with_name(f"{file.name}.sig")


def edition(kind: str, sha256: str, series: str, counter: int | None) -> Release:
    """Return a release to sign; the default counter is the time in whole seconds since 1970."""
    return Release(kind, series, int(time.time()) if counter is None else counter, sha256)


def sign(file: Path, release: Release, signer: envelopes.Signer) -> Path:
    """Write the signature of a bundle or lock next to it, and return its path."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": file.name, "digest": {"sha256": release.sha256}}],
        "predicateType": _PREDICATE,
        "predicate": asdict(release),
    }
    payload = json.dumps(statement, sort_keys=True).encode("utf-8")
    with writing(signature_of(file), "give write access to its directory"):
        write_own(signature_of(file), envelopes.seal(payload, envelopes.STATEMENT, signer))
    return signature_of(file)


def check(kind: str, file: Path, sha256: str, keys: KeyList) -> Signed:
    """Return the signed release of a bundle or lock.

    Raises:
        SignatureError: it is not signed by a trusted key, is a different one, or older than the last accepted one.
    """
    place = signature_of(file)
    try:
        payload, keyid = envelopes.unseal(
            read_small(place), envelopes.STATEMENT, lambda keyid: keys.key(keyid, CONTENTS)
        )
        release = _release(payload, kind, sha256)
        _refuse_older(release, _load().accepted)
    except OSError as error:
        hint = f"put it next to the {kind}; who makes the {kind} signs it with --sign KEY"
        raise SignatureError(kind, f"{place} can't be read: {error.strerror}", hint=hint) from None
    except RefusedError as refusal:
        raise SignatureError(kind, f"{place}: {refusal}", hint=refusal.hint) from None
    return Signed(release, keyid)


def accept(signed: Signed) -> None:
    """Remember a release, so that older ones of its series are refused from now on."""
    release, hint = signed.release, f"give write access, or choose another directory with {paths.STATE_VARIABLE}"
    try:
        with writing(_state(), hint):
            _state().parent.mkdir(parents=True, exist_ok=True)
            with flocked(_state().with_name("accepted.lock"), ""):
                before = _load()
                _refuse_older(release, before.accepted)
                after = _Accepted({**before.accepted, f"{release.kind} {release.series}": release})
                if after != before:
                    write_atomic(_state(), json.dumps(asdict(after), indent=2).encode("utf-8"))
    except RefusedError as refusal:  # another process accepted a newer one meanwhile
        raise SignatureError(release.kind, str(refusal), hint=refusal.hint) from None


def _release(payload: bytes, kind: str, sha256: str) -> Release:
    try:
        statement = schema.read(_Statement, schema.loads(payload), "statement")
    except ContractError:
        raise RefusedError(f"it is not the signature of a {kind}") from None
    release = statement["predicate"]
    if (statement["predicateType"], release.kind, release.sha256) != (_PREDICATE, kind, sha256):
        raise RefusedError(f"it is the signature of another {release.kind}")
    return release


def _refuse_older(release: Release, accepted: Mapping[str, Release]) -> None:
    last = accepted.get(f"{release.kind} {release.series}")
    if last is not None and last != release and release.counter <= last.counter:
        raise RefusedError(
            f"{release.kind} {release.series!r} has counter {release.counter}; {last.counter} was accepted here before",
            "get the newest one; to go back on purpose, sign the older one again: --sign KEY",
        )


def _state() -> Path:
    return paths.state_dir() / "accepted.json"


def _load() -> _Accepted:
    try:
        return schema.read(_Accepted, schema.load(_state()), "accepted")
    except FileNotFoundError:
        return _Accepted()
    except OSError as error:
        hint = f"give read access, or choose another directory with {paths.STATE_VARIABLE}"
        raise HostError(f"{_state()} can't be read: {error.strerror}", hint=hint) from None
    except ContractError as error:
        raise HostError(
            f"{_state()} is damaged: {error}", hint="restore it; without it, old bundles are accepted"
        ) from None
