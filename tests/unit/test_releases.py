"""Statements that a trusted key did sign, and that are still not what they are taken for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from prepare_models.errors import SignatureError
from prepare_models.signing import envelopes, releases, trust

SHA256 = "ab" * 32


def pair() -> tuple[CryptoSigner, str]:
    """Return what signs with a new key, and its public half in PEM."""
    key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return CryptoSigner(key), public.decode("ascii")


class Signer:
    """A key that a list trusts with contents and with lists, and a bundle that it signed."""

    def __init__(self, folder: Path) -> None:
        self.bundle = folder / "site.bundle"
        self.signer, public = pair()
        self.keyid = self.signer.public_key.keyid
        self.keys = trust.KeyList({self.keyid: trust.TrustedKey(public, signs=trust.PURPOSES)})

    def check(self, counter: int, kind: str = releases.BUNDLE) -> releases.Signed:
        """Sign an edition and judge it as a bundle."""
        releases.sign(self.bundle, releases.Release(kind, "models", counter, SHA256), self.signer)
        return releases.check(releases.BUNDLE, self.bundle, SHA256, self.keys)


@pytest.fixture
def signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Signer:
    monkeypatch.setenv("PREPARE_MODELS_STATE_DIR", str(tmp_path / "state"))
    return Signer(tmp_path)


def test_a_release_of_another_kind_with_the_same_digest_is_another(signer: Signer) -> None:
    assert signer.check(1).keyid == signer.keyid
    with pytest.raises(SignatureError, match="is the signature of another lock"):
        signer.check(1, releases.LOCK)


def test_an_older_edition_is_not_accepted_though_it_was_checked_before_the_newer_one(signer: Signer) -> None:
    old, new = signer.check(7), signer.check(8)
    releases.accept(new)
    with pytest.raises(SignatureError, match="has counter 7; 8 was accepted"):
        releases.accept(old)
    releases.accept(new)


def test_a_list_of_keys_is_signed_as_one(signer: Signer, tmp_path: Path) -> None:
    following = replace(signer.keys, counter=1)
    trust.export(signer.keys, signer.signer, tmp_path / "list.json")
    assert trust.renewed(signer.keys, tmp_path / "list.json") == following
    statement = envelopes.seal(following.to_json().encode(), envelopes.STATEMENT, signer.signer)
    (tmp_path / "list.json").write_bytes(statement)
    with pytest.raises(SignatureError, match="signed something else"):
        trust.renewed(signer.keys, tmp_path / "list.json")


def test_a_key_under_the_id_of_another_is_not_that_one(signer: Signer) -> None:
    signer.keys = trust.KeyList({signer.keyid: replace(signer.keys.keys[signer.keyid], public=pair()[1])})
    with pytest.raises(SignatureError, match="does not match its name in the list of keys"):
        signer.check(1)
