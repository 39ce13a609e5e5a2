"""Signed statements of where engines come from: DSSE envelopes, made and checked with securesystemslib."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.companions import PROVENANCE as STATEMENT
from prepare_models_entrypoint.contract.companions import SIGNED as ENVELOPE
from prepare_models_entrypoint.contract.files import read_small, sha256_file, write_atomic

from ..errors import HostError, UsageError

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_HINT = "pip install 'prepare-models[provenance]'"

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What is true of one engine's statement. ``signed_by``: id of the key whose signature fits, None without."""

    model: str
    good: bool
    told: str
    signed_by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def directories(place: Path) -> list[Path]:
    """Return the model directories of a models directory, or the one model directory that it is.

    Raises:
        UsageError: there is no statement in it.
    """
    found = [place] if (place / STATEMENT).exists() else sorted(file.parent for file in place.glob(f"*/{STATEMENT}"))
    if not found:
        raise UsageError(
            f"{place} has no {STATEMENT}", hint="give a models directory that run wrote, or one of its models"
        )
    return found


def sign(directory: Path, signer: Any) -> Finding:
    """Sign a model's statement, if it is true of the engine beside it."""
    from securesystemslib.dsse import Envelope

    payload = read_small(directory / STATEMENT, largest=schema.LARGEST_DOCUMENT)
    wrong = _untrue(directory, payload)
    if wrong is not None:
        return Finding(directory.name, good=False, told=wrong)
    envelope = Envelope(payload, _PAYLOAD_TYPE, {})
    signature = envelope.sign(signer)
    data = json.dumps(envelope.to_dict(), indent=2) + "\n"
    write_atomic(directory / ENVELOPE, data.encode("utf-8"))
    return Finding(directory.name, good=True, told=f"signed as {ENVELOPE}", signed_by=signature.keyid)


def verify(directory: Path, key: Any | None) -> Finding:
    """Check a model's statement against its engine, and its signature where a key is given."""
    if key is None:
        wrong = _untrue(directory, read_small(directory / STATEMENT, largest=schema.LARGEST_DOCUMENT))
        told = wrong or "the engine is the one of the statement; no key was given, so no signature was checked"
        return Finding(directory.name, good=wrong is None, told=told)
    try:
        payload = _opened(directory / ENVELOPE, key)
    except FileNotFoundError:
        return Finding(directory.name, good=False, told=f"there is no {ENVELOPE}: the statement is not signed")
    if payload is None:
        return Finding(
            directory.name, good=False, told=f"the signature in {ENVELOPE} is not by this key, or was changed"
        )
    wrong = _untrue(directory, payload)
    if wrong is None and payload != read_small(directory / STATEMENT, largest=schema.LARGEST_DOCUMENT):
        wrong = f"{STATEMENT} is not what was signed"
    told = wrong or "signed by this key, and the engine is the one of the statement"
    return Finding(directory.name, good=wrong is None, told=told, signed_by=key.keyid)


def _opened(file: Path, key: Any) -> bytes | None:
    """Return what an envelope holds, or None unless the key signed exactly that."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import FormatError, VerificationError

    try:
        envelope = Envelope.from_dict(schema.load(file))
        envelope.verify([key], 1)
    except (VerificationError, FormatError, ValueError, TypeError, LookupError, AttributeError):
        return None
    payload: bytes = envelope.payload
    return payload if envelope.payload_type == _PAYLOAD_TYPE else None


def _untrue(directory: Path, payload: bytes) -> str | None:
    """Say why a statement is not true of the engine in a directory, or return None."""
    try:
        (subject,) = json.loads(payload)["subject"]
        name, digest = subject["name"], subject["digest"]["sha256"]
    except (ValueError, TypeError, LookupError):
        return "the statement is damaged"
    plan = directory / "1" / "model.plan"
    if name != "1/model.plan" or not plan.is_file():
        return f"there is no engine {name}"
    found = sha256_file(plan)
    return None if found == digest else f"the engine's sha256 is {found[:12]}..., the statement's {digest[:12]}..."


def private_key(file: Path, password_file: Path | None) -> Any:
    """Return the signer of a private key in PEM: Ed25519, ECDSA or RSA.

    Raises:
        HostError: the extra is missing. UsageError: the file is no such key, or its password is wrong.
    """
    crypto = _library()
    password = _read(password_file).strip() if password_file else None
    data = _read(file)

    def load() -> Any:
        from securesystemslib.signer import CryptoSigner

        return CryptoSigner(crypto.load_pem_private_key(data, password))

    return _key(load, file, "a private key in PEM", "openssl genpkey -algorithm ed25519 -out key.pem")


def public_key(file: Path) -> Any:
    """Return a public key in PEM.

    Raises:
        HostError: the extra is missing. UsageError: the file is no such key.
    """
    crypto = _library()
    data = _read(file)

    def load() -> Any:
        from securesystemslib.signer import SSlibKey

        return SSlibKey.from_crypto(crypto.load_pem_public_key(data))

    return _key(load, file, "a public key in PEM", "openssl pkey -in key.pem -pubout -out key.pub")


def _key(load: Callable[[], T], file: Path, what: str, hint: str) -> T:
    try:
        return load()
    except (ValueError, TypeError):  # the library's words may hold parts of the file
        raise UsageError(f"{file} is not {what}, or its password is missing or wrong", hint=hint) from None


def _library() -> Any:
    try:
        import securesystemslib.dsse  # noqa: F401  # asked for here, so that its lack is told at once
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise HostError(f"signatures need {error.name}", hint=_HINT) from None
    return serialization


def _read(file: Path) -> bytes:
    try:
        return read_small(file)
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}", hint="give the path of a readable file") from None
