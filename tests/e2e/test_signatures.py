"""Signed bundles, locks and key lists, from the outside: what a trusted key signed passes, and nothing else does."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import networks
from tests.command import Result, Workplace


class Signing(Workplace):
    """A workplace with keys: ``depot`` signs, ``root`` renews lists, ``stranger`` is anybody."""

    def prepare(self) -> None:
        """Write keys, a model, its lock and its bundle."""
        folder = self.folder
        for name in ("depot", "root", "stranger", "next"):
            key, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
            pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            (folder / f"{name}.pem").write_bytes(key.private_bytes(pem, pkcs8, bare))
            public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
            (folder / f"{name}.pub").write_bytes(public)
        networks.conv(folder / "net.onnx")
        self.write({"name": "net", "source": "net.onnx"})
        self.done("lock", "models.yaml", "--platform", "local", "--sign", "depot.pem", "--counter", "7")
        self.bundle("depot", 7)

    def done(self, *arguments: str, **variables: str) -> Result:
        """Run a command that succeeds."""
        done = self.call(*arguments, **variables)
        assert done.status == 0, done.stderr
        return done

    def bundle(self, key: str, counter: int, *more: str) -> None:
        """Make a bundle, signed."""
        signed = ("--sign", f"{key}.pem", "--counter", str(counter))
        self.done("bundle", "create", "models.yaml", "-o", "site.bundle", "--no-wheels", *signed, *more)

    def relock(self, key: str, counter: int) -> None:
        """Sign the lock anew."""
        self.done("lock", "models.yaml", "--sign", f"{key}.pem", "--counter", str(counter))

    def both(self, command: str = "plan") -> tuple[Result, Result]:
        """Use the bundle and the lock where signatures are required."""
        bundle = ("--bundle", "site.bundle", "--executor", "local", "--require-signed")
        lock = ("models.yaml", "--locked", "--executor", "local", "--require-signed")
        return self.call(command, *bundle), self.call(command, *lock)

    def passes(self, command: str = "plan") -> None:
        """See that both are taken."""
        for done in self.both(command):
            assert done.status == 0, done.stderr

    def refused(self, why: str) -> None:
        """See that neither is."""
        for done, code in zip(self.both(), ("bundle-signature", "lock-signature"), strict=True):
            assert (done.status, f"[{code}]" in done.stderr, why in done.stderr) == (1, True, True), done.stderr
            assert "\n  -> " in done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    Signing(folder).prepare()
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Signing:
    return Signing(Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True)))


def test_what_a_trusted_key_signed_is_used_and_says_so(place: Signing) -> None:
    place.done("trust", "add", "depot.pub", "--name", "depot")
    place.passes()
    (keyid,) = json.loads(place.done("trust", "ls", "--json").stdout)["keys"]
    told = json.loads(place.done("bundle", "verify", "site.bundle", "--require-signed", "--json").stdout)
    assert told["signed_by"] == keyid
    assert f"signed by key {keyid[:16]}" in place.done("cache", "ls").stdout
    assert place.call("bundle", "verify", "site.bundle", "--public-key", "depot.pub").status == 0


def test_a_key_that_nobody_trusts_opens_nothing(place: Signing) -> None:
    place.refused("is not trusted here")  # there is no list at all
    place.done("trust", "add", "stranger.pub")
    place.refused("is not trusted here")
    wrong = place.call("bundle", "verify", "site.bundle", "--public-key", "stranger.pub")
    assert (wrong.status, "[bundle-signature]" in wrong.stderr) == (1, True)


def test_a_signature_is_missed_where_one_is_required(place: Signing) -> None:
    place.done("trust", "add", "depot.pub")
    for name in ("site.bundle.sig", "models.lock.sig"):
        (place.folder / name).unlink()
    place.refused("No such file")
    assert place.call("plan", "models.yaml", "--locked", "--executor", "local").status == 0
    loose = place.call("plan", "models.yaml", "--require-signed", "--executor", "local")
    assert (loose.status, "--locked or --bundle" in loose.stderr) == (2, True)


def test_an_expired_key_counts_no_more(place: Signing) -> None:
    place.done("trust", "add", "depot.pub", "--expires", "2020-01-01")
    place.refused("expired on 2020-01-01")
    place.done("trust", "add", "depot.pub", "--expires", "2999-01-01")
    place.passes()


def test_an_older_edition_than_the_last_is_refused(place: Signing) -> None:
    place.done("trust", "add", "depot.pub")
    names = ("site.bundle", "site.bundle.sig", "models.lock", "models.lock.sig")
    old = {name: (place.folder / name).read_bytes() for name in names}
    place.bundle("depot", 8)
    place.relock("depot", 8)
    new = {name: (place.folder / name).read_bytes() for name in names}

    def bring(files: dict[str, bytes]) -> None:
        for name, data in files.items():
            (place.folder / name).write_bytes(data)

    place.passes()  # a plan remembers nothing
    bring(old)
    place.passes("run")
    bring(new)
    place.passes("run")
    place.passes("run")  # the same again
    bring(old)
    place.refused("has counter 7; 8 was accepted here before")
    place.bundle("depot", 1, "--series", "another")
    other = place.call("plan", "--bundle", "site.bundle", "--executor", "local", "--require-signed")
    assert other.status == 0, other.stderr


def test_two_editions_of_one_number_are_not_the_same(place: Signing) -> None:
    place.done("trust", "add", "depot.pub")
    place.passes("run")
    networks.conv(place.folder / "net.onnx", seed=5)
    place.relock("depot", 7)
    place.bundle("depot", 7)
    place.refused("has counter 7; 7 was accepted")


def changed(sig: Path, change: Callable[[dict[str, str], dict[str, object]], None]) -> None:
    """Change what an envelope holds."""
    raw = json.loads(sig.read_text())
    statement = json.loads(base64.b64decode(raw["payload"]))
    change(raw, statement)
    raw["payload"] = base64.b64encode(json.dumps(statement, sort_keys=True).encode()).decode()
    sig.write_text(json.dumps(raw))


def raised(raw: dict[str, str], statement: dict[str, object]) -> None:
    statement["predicate"] = {**dict(statement["predicate"]), "counter": 99}  # type: ignore[call-overload]  # an object


def retyped(raw: dict[str, str], statement: dict[str, object]) -> None:
    raw["payloadType"] = "text/plain"


@pytest.mark.parametrize("change", [raised, retyped])
def test_what_was_changed_after_the_signing_is_refused(
    place: Signing, change: Callable[[dict[str, str], dict[str, object]], None]
) -> None:
    place.done("trust", "add", "depot.pub")
    for name in ("site.bundle.sig", "models.lock.sig"):
        changed(place.folder / name, change)
    place.refused("does not match")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"payload": "e30=", "payloadType": "a", "signatures": [1]}'])
def test_a_damaged_signature_is_refused_and_no_bug(place: Signing, text: str) -> None:
    place.done("trust", "add", "depot.pub")
    for name in ("site.bundle.sig", "models.lock.sig"):
        (place.folder / name).write_text(text)
    place.refused("signature")


def test_a_signature_is_that_of_one_thing(place: Signing) -> None:
    """A lock's signature beside a bundle, a bundle's beside another bundle: true signatures by a trusted key."""
    place.done("trust", "add", "depot.pub")
    bundle, lock = place.folder / "site.bundle.sig", place.folder / "models.lock.sig"
    first, second = bundle.read_bytes(), lock.read_bytes()
    bundle.write_bytes(second)
    lock.write_bytes(first)
    place.refused("is the signature of another")
    networks.conv(place.folder / "net.onnx", seed=5)
    place.relock("depot", 8)
    place.bundle("depot", 8)
    bundle.write_bytes(first)
    lock.write_bytes(second)
    place.refused("is the signature of another")


def test_a_lock_that_was_edited_is_not_the_signed_one(place: Signing) -> None:
    place.done("trust", "add", "depot.pub")
    lock = place.folder / "models.lock"
    lock.write_text(lock.read_text().replace('"tool": "', '"tool": "9'))
    assert "[lock-signature]" in place.both()[1].stderr


def test_keys_are_rotated_and_revoked_by_a_signed_list(place: Signing) -> None:
    depot, robot = (str(place.folder / f"{name}.json") for name in ("depot-keys", "trusted-keys"))
    for keys in (depot, robot):
        place.done("trust", "add", "root.pub", "--for", "keys", "--trusted-keys", keys)
        place.done("trust", "add", "depot.pub", "--trusted-keys", keys)
    place.passes()

    def export(key: str, name: str) -> Result:
        return place.call("trust", "export", "--sign", f"{key}.pem", "-o", name, "--trusted-keys", depot)

    assert export("root", "first.json").status == 0
    ids = {entry["public"]: keyid for keyid, entry in json.loads(Path(depot).read_text())["keys"].items()}
    old = next(
        keyid for public, keyid in ids.items() if public.strip() == (place.folder / "depot.pub").read_text().strip()
    )
    place.done("trust", "add", "next.pub", "--trusted-keys", depot)
    place.done("trust", "revoke", old[:12], "--trusted-keys", depot)
    assert export("root", "second.json").status == 0
    place.done("trust", "update", "second.json")
    place.refused("was revoked")
    place.bundle("next", 8)
    place.relock("next", 8)
    place.passes()
    stale = place.call("trust", "update", "first.json")
    assert (stale.status, "[keys-signature]" in stale.stderr, "counter 1" in stale.stderr) == (1, True, True)
    place.passes()
    assert export("next", "third.json").status == 1, "a key for contents renews no list"


def test_a_list_of_a_stranger_or_of_another_purpose_renews_nothing(place: Signing) -> None:
    place.done("trust", "add", "root.pub", "--for", "keys")
    theirs = str(place.folder / "theirs.json")
    place.done("trust", "add", "stranger.pub", "--for", "keys", "--for", "contents", "--trusted-keys", theirs)
    place.done("trust", "export", "--sign", "stranger.pem", "-o", "evil.json", "--trusted-keys", theirs)
    for name in ("evil.json", "models.lock.sig"):
        done = place.call("trust", "update", name)
        assert (done.status, "[keys-signature]" in done.stderr) == (1, True), done.stderr
    place.done("trust", "add", "depot.pub")
    done = place.call("trust", "update", "models.lock.sig")
    assert (done.status, "may not sign keys" in done.stderr) == (1, True), done.stderr


def test_a_list_of_keys_that_others_may_write_is_not_used(place: Signing) -> None:
    place.done("trust", "add", "depot.pub")
    (place.folder / "trusted-keys.json").chmod(0o666)
    done = place.both()[0]
    assert (done.status, "chmod o-w" in done.stderr) == (3, True), done.stderr
