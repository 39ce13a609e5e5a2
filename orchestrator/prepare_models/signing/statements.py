"""Signed statements about where engines come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.companions import PLAN
from prepare_models_entrypoint.contract.companions import PROVENANCE as STATEMENT
from prepare_models_entrypoint.contract.companions import SIGNED as ENVELOPE
from prepare_models_entrypoint.contract.digest import is_sha256
from prepare_models_entrypoint.contract.files import read_small, sha256_file, write_own
from prepare_models_entrypoint.contract.values import Value

from ..errors import UsageError
from . import envelopes
from .trust import CONTENTS, KeyList


class _Subject(TypedDict):
    name: str
    digest: dict[str, str]


class _Internal(TypedDict):
    buildKey: str


class _Asked(TypedDict):
    model: str


class _Definition(TypedDict):
    externalParameters: _Asked
    internalParameters: _Internal


class _Predicate(TypedDict):
    buildDefinition: _Definition


class _Statement(TypedDict):
    subject: list[_Subject]
    predicate: _Predicate


class Finding(Value):
    """Result of checking one engine's statement. ``signed_by``: id of the key with a valid signature, or None."""

    model: str
    good: bool
    told: str
    signed_by: str | None = None


class Provenance(Value):
    """What a statement says. ``files``: sha256 by name, the engine's as ``companions.PLAN``."""

    model: str
    build_key: str
    files: Mapping[str, str]


def read(payload: bytes) -> Provenance:
    """Return what a statement says.

    Raises:
        ContractError: it is not a statement, or a subject has no sha256, or the name of another.
    """
    found = schema.read(_Statement, schema.loads(payload), "statement")
    files = {each["name"]: each["digest"].get("sha256", "") for each in found["subject"]}
    if len(files) != len(found["subject"]):
        raise ContractError("statement: two subjects have one name")
    if not all(map(is_sha256, files.values())):
        raise ContractError("statement: a subject has no sha256")
    built = found["predicate"]["buildDefinition"]
    return Provenance(built["externalParameters"]["model"], built["internalParameters"]["buildKey"], files)


def directories(place: Path) -> list[Path]:
    """Return the model directories in a models directory, or ``place`` itself if it is a model directory.

    Raises:
        UsageError: it contains no statement.
    """
    found = [place] if (place / STATEMENT).exists() else sorted(file.parent for file in place.glob(f"*/{STATEMENT}"))
    if not found:
        raise UsageError(
            f"{place} has no {STATEMENT}", hint="give a models directory that run wrote, or one of its models"
        )
    return found


def sign(directory: Path, signer: envelopes.Signer) -> Finding:
    """Sign a model's statement, if it is true for the engine next to it."""
    try:
        payload = _statement(directory)
    except OSError as error:
        return _unreadable(directory, error)
    wrong = _untrue(directory, payload)
    if wrong is not None:
        return Finding(directory.name, good=False, told=wrong)
    write_own(directory / ENVELOPE, envelopes.seal(payload, envelopes.STATEMENT, signer))
    return Finding(directory.name, good=True, told=f"signed as {ENVELOPE}", signed_by=signer.public_key.keyid)


def verify(directory: Path, keys: KeyList | None) -> Finding:
    """Check a model's statement against its engine, and its signature if keys are given."""
    try:
        return _verified(directory, keys)
    except OSError as error:
        return _unreadable(directory, error)


def _unreadable(directory: Path, error: OSError) -> Finding:
    return Finding(directory.name, good=False, told=f"{Path(error.filename or STATEMENT).name}: {error.strerror}")


def _verified(directory: Path, keys: KeyList | None) -> Finding:
    if keys is None:
        wrong = _untrue(directory, _statement(directory))
        text = wrong or "the engine is the one of the statement; no key was given, so no signature was checked"
        return Finding(directory.name, good=wrong is None, told=text)
    try:
        signed = read_small(directory / ENVELOPE, largest=schema.LARGEST_DOCUMENT)
        payload, keyid = envelopes.unseal(signed, envelopes.STATEMENT, lambda keyid: keys.key(keyid, CONTENTS))
    except FileNotFoundError:
        return Finding(directory.name, good=False, told=f"there is no {ENVELOPE}: the statement is not signed")
    except envelopes.RefusedError as refusal:
        whose = "this key" if len(keys.keys) == 1 else "a trusted key"
        text = f"the signature in {ENVELOPE} is not by {whose}, or it was changed: {refusal}"
        return Finding(directory.name, good=False, told=text)
    wrong = _untrue(directory, payload)
    if wrong is None and payload != _statement(directory):
        wrong = f"{STATEMENT} differs from what was signed"
    text = wrong or f"signed by {envelopes.short(keyid)}, and the engine is the one of the statement"
    return Finding(directory.name, good=wrong is None, told=text, signed_by=keyid)


def _statement(directory: Path) -> bytes:
    return read_small(directory / STATEMENT, largest=schema.LARGEST_DOCUMENT)


def _untrue(directory: Path, payload: bytes) -> str | None:
    """Return why a statement is not true for the engine in a directory, or None."""
    try:
        ((name, digest),) = read(payload).files.items()
    except ValueError:
        return "the statement is damaged"
    plan = directory / PLAN
    if name != PLAN or not plan.is_file():
        return f"there is no engine {name}"
    found = sha256_file(plan)
    return None if found == digest else f"the engine's sha256 is {found[:12]}..., the statement's {digest[:12]}..."
