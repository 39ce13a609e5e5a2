"""DSSE envelopes, made and opened with securesystemslib: the only form of signature, whatever is signed."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from prepare_models_entrypoint.contract import extras, schema
from prepare_models_entrypoint.contract.codec import ContractError
from prepare_models_entrypoint.contract.files import read_small

from ..errors import ExtraMissingError, UsageError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key, SSlibKey

STATEMENT = "application/vnd.in-toto+json"
_BROKEN = (ValueError, TypeError, LookupError, AttributeError)  # raised for malformed envelopes and keys

Signer: TypeAlias = "CryptoSigner"  # a private key


class RefusedError(Exception):
    """A signature doesn't prove what it should. ``hint``: the next step."""

    def __init__(self, why: str, hint: str = "get it and its signature again from the signer") -> None:
        super().__init__(why)
        self.hint = hint


class _Signature(TypedDict):
    keyid: str


class _Envelope(TypedDict):
    payload: str
    payloadType: str
    signatures: list[_Signature]


def unsigned(payload: bytes, payload_type: str) -> bytes:
    """Return an envelope without a signature."""
    envelope = _Envelope(payload=base64.b64encode(payload).decode("ascii"), payloadType=payload_type, signatures=[])
    return json.dumps(envelope).encode("ascii")


def contents(data: bytes, payload_type: str) -> tuple[bytes, tuple[str, ...]]:
    """Return what an envelope holds, whoever signed it, and the ids of the keys that it names. Nothing is verified.

    Raises:
        ContractError: it is not one of this type.
    """
    envelope = schema.read(_Envelope, schema.loads(data), "envelope")
    if envelope["payloadType"] != payload_type:
        raise ContractError(f"envelope: it holds {envelope['payloadType'][:80]!r}")
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
    except ValueError:
        raise ContractError("envelope: the payload is not base64") from None
    return payload, tuple(each["keyid"] for each in envelope["signatures"])


def seal(payload: bytes, payload_type: str, signer: CryptoSigner) -> bytes:
    """Return an envelope with one signature."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer)
    return (json.dumps(envelope.to_dict(), indent=2) + "\n").encode("ascii")


def unseal(data: bytes, payload_type: str, key_of: Callable[[str], Key]) -> tuple[bytes, str]:
    """Return an envelope's payload, and the id of the key whose signature of exactly that is valid.

    ``payload_type``: what must have been signed. ``key_of``: returns the public key for an id, or raises RefusedError
    if it is not trusted.

    Raises:
        RefusedError: no signature is from a trusted key.
        ExtraMissingError: the extra is missing.
    """
    require()
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import FormatError, VerificationError

    try:
        envelope = Envelope.from_dict(schema.loads(data))
        ids = [str(keyid) for keyid in envelope.signatures]
    except (FormatError, *_BROKEN):
        raise RefusedError("the signature is damaged") from None
    refusals = [RefusedError("the envelope has no signature")]
    for keyid in ids:
        try:
            envelope.verify([key_of(keyid)], 1)
        except RefusedError as refusal:
            refusals.append(refusal)
        except (VerificationError, FormatError, *_BROKEN):
            refusals.append(
                RefusedError(f"the signature by {short(keyid)} does not match: it or what it signs was changed")
            )
        else:
            if envelope.payload_type != payload_type:
                raise RefusedError(f"{short(keyid)} signed something else")
            return bytes(envelope.payload), keyid
    raise refusals[-1]


def short(keyid: str) -> str:
    """Return the form of a key id in messages."""
    return f"key {keyid[:16]}"


def private_key(file: Path, password_file: Path | None) -> CryptoSigner:
    """Return a signer with a private key in PEM: Ed25519, ECDSA or RSA.

    Raises:
        ExtraMissingError: the extra is missing. UsageError: the file is not such a key, or its password is wrong.
    """
    require()
    password = read(password_file).strip() if password_file else None
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    data = read(file)
    with _key_in(file, "a private key in PEM", "openssl genpkey -algorithm ed25519 -out key.pem"):
        return CryptoSigner(load_pem_private_key(data, password))


def public_pem(file: Path) -> tuple[str, str]:
    """Return the id of the public key in a file, and the key in canonical PEM.

    Raises:
        ExtraMissingError: the extra is missing. UsageError: the file is not such a key.
    """
    require()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    data = read(file)
    with _key_in(file, "a public key in PEM", "openssl pkey -in key.pem -pubout -out key.pub"):
        pem = load_pem_public_key(data).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return public_key(pem).keyid, pem.decode("ascii")


def public_key(pem: bytes) -> SSlibKey:
    """Return the public key in a PEM text.

    Raises:
        ValueError, TypeError: it is not one. ExtraMissingError: the extra is missing.
    """
    require()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(load_pem_public_key(pem))


def require() -> None:
    """Refuse to continue without the extra, before any work rather than in the middle of it."""
    try:
        import cryptography.hazmat.primitives.serialization  # noqa: F401
        import securesystemslib.dsse  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError(extras.missing("a signature", "sign", error)) from None


@contextlib.contextmanager
def _key_in(file: Path, what: str, hint: str) -> Iterator[None]:
    """Refuse a file that holds no key. ``what``: what it should hold. ``hint``: how one is made."""
    try:
        yield
    except (ValueError, TypeError):  # the library's message may contain parts of the file
        raise UsageError(f"{file} is not {what}, or its password is missing or wrong", hint=hint) from None


def read(file: Path) -> bytes:
    """Return the content of a small file that the user named."""
    try:
        return read_small(file)
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}", hint="give the path of a readable file") from None
