"""A signature over a bundle's index, which has the digest of every byte. Keys and signatures are OpenSSL's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from prepare_models_entrypoint.contract.files import read_small, write_atomic

from ..errors import BundleError, HostError, UsageError

_HINT = "openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem"


def signature_of(bundle: Path) -> Path:
    """Return where the signature of a bundle lies."""
    return bundle.with_name(f"{bundle.name}.sig")


def sign(index: bytes, bundle: Path, key_file: Path) -> Path:
    """Write the signature of an index with a private Ed25519 key beside the bundle."""
    serialization, ed25519, _ = _library()
    key = _key(key_file, lambda data: serialization.load_pem_private_key(data, None))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{key_file} is no private Ed25519 key", hint=_HINT)
    write_atomic(signature_of(bundle), key.sign(index))
    return signature_of(bundle)


def fingerprint(public_key: Path) -> str:
    """Return the sha256 of a public Ed25519 key, in hexadecimal digits, as reports name the signer."""
    serialization, ed25519, _ = _library()
    key = _public(public_key, serialization, ed25519)
    raw: bytes = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()


def check(index: bytes, bundle: Path, public_key: Path) -> None:
    """Check the signature that lies beside a bundle.

    Raises:
        BundleError: there is none, or it is not this key's signature of this bundle.
    """
    serialization, ed25519, invalid = _library()
    key = _public(public_key, serialization, ed25519)
    try:
        key.verify(read_small(signature_of(bundle)), index)
    except OSError as error:
        raise _refused(f"{signature_of(bundle)} can't be read: {error.strerror}") from None
    except invalid:
        raise _refused(f"{signature_of(bundle)} is no signature of {bundle} by {public_key}") from None


def _public(file: Path, serialization: Any, ed25519: Any) -> Any:
    key = _key(file, serialization.load_pem_public_key)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{file} is not a public Ed25519 key", hint=_HINT)
    return key


def _key(file: Path, load: Any) -> Any:
    try:
        return load(read_small(file))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{file} can't be read as a key: {error}", hint=_HINT) from None


def _refused(what: str) -> BundleError:
    return BundleError("bundle-signature", what, hint="get bundle and signature anew from who signed them")


def _library() -> tuple[Any, Any, Any]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise HostError("signatures need the package cryptography", hint="pip install 'prepare-models[sign]'") from None
    return serialization, ed25519, InvalidSignature
