"""Documents of strangers, changed in every way: bundle indexes, locks, records of engines, lists of keys, signatures.

What the command says of them may be anything but a bug (exit status 70).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from prepare_models.bundle import archive
from prepare_models.bundle.contents import Contents
from prepare_models.bundle.create import Order, create
from prepare_models.bundle.index import BundledModel, Index, ModelFile, Named
from prepare_models.docker.tar_streams import header, padding
from prepare_models.lock.document import Lock, path_of, write
from prepare_models.lock.make import make as make_lock
from prepare_models.manifest.load import load
from prepare_models.manifest.model import ModelSpec
from prepare_models.signing import envelopes, releases, trust
from prepare_models.store import PLAN
from prepare_models.store.local import Store, write_record
from prepare_models.support.file_digests import Digests
from prepare_models_entrypoint.contract import schema
from prepare_models_entrypoint.contract.codec import ContractError

from .fuzzing import TOKENS, changed, fuzzed, mangled, never_a_bug
from .records import PLAN_BYTES, RUNTIME, digest, report_of


class Site:
    """A locked manifest, its bundle and signatures by a trusted key, and an engine in the store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest, self.bundle = folder, folder / "models.yaml", folder / "site.bundle"
        (folder / "net.onnx").write_bytes(bytes(range(100)))
        self.manifest.write_text("version: 1\nmodels:\n- {name: net, source: net.onnx}\n")
        self.lock = make_lock(load(self.manifest), Lock(), update=(), accept_eula=False, on_event=lambda _: None)
        write(path_of(self.manifest), self.lock)
        secret, pem = Ed25519PrivateKey.generate(), serialization.Encoding.PEM
        pkcs8, bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / "key.pem").write_bytes(secret.private_bytes(pem, pkcs8, bare))
        public = secret.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / "key.pub").write_bytes(public)
        self.signer = envelopes.private_key(folder / "key.pem", None)
        self.keys = trust.of_public_key(folder / "key.pub")
        order = Order(manifest=self.manifest, target=self.bundle, signer=self.signer, series="models", counter=3)
        create(order, on_event=lambda _: None, on_measured=lambda _: None, on_written=lambda _, __: None)
        with self.bundle.open("rb") as stream:
            reader = archive.Reader(stream)
            self.index, self.rest = json.loads(reader.index_bytes), stream.read()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("site")
        patch.setenv("PREPARE_MODELS_CACHE_DIR", str(folder / "cache"))
        return Site(folder)


@fuzzed
def test_an_index_of_a_bundle(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    index = data.draw(changed(site.index))
    bundle = tmp_path / "x.bundle"
    head = header(archive.index_name(hashlib.sha256(index).hexdigest()), len(index))
    bundle.write_bytes(head + index + padding(len(index)) + site.rest)
    never_a_bug(capsys, "bundle", "ls", str(bundle))
    never_a_bug(capsys, "plan", "--bundle", str(bundle), "--executor", "local", "--quiet")


@fuzzed
def test_what_a_bundle_holds(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    """Manifest and lock are changed before the bundle is made, so that every digest fits."""
    if data.draw(st.booleans()):
        lock = data.draw(st.one_of(changed(json.loads(site.lock.to_json())), mangled([site.lock.to_json().encode()])))
        manifest = site.manifest.read_bytes()
    else:
        lock, manifest = site.lock.to_json().encode(), data.draw(mangled([site.manifest.read_bytes()], TOKENS))
    contents = Contents(tmp_path, {})
    model = contents.add(site.folder / "net.onnx")
    index = Index(
        tool="0", manifest=Named("models.yaml", contents.add_bytes(manifest)),
        lock=Named("models.lock", contents.add_bytes(lock)),
        models=(BundledModel("net", (ModelFile("model", "net/model/net.onnx", model),)),),
    )  # fmt: skip
    bundle = tmp_path / "x.bundle"
    contents.write(replace(index, contents=contents.index), bundle, lambda _, __: None)
    never_a_bug(capsys, "plan", "--bundle", str(bundle), "--executor", "local", "--quiet")


@fuzzed
def test_a_lock(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    for name in ("net.onnx", "models.yaml"):
        (tmp_path / name).write_bytes((site.folder / name).read_bytes())
    (tmp_path / "models.lock").write_bytes(data.draw(changed(json.loads(site.lock.to_json()))))
    manifest = str(tmp_path / "models.yaml")
    never_a_bug(capsys, "lock", manifest, "--check", "--quiet")
    never_a_bug(capsys, "bundle", "create", manifest, "-o", str(tmp_path / "x.bundle"), "--no-wheels", "--quiet")
    never_a_bug(capsys, "plan", manifest, "--executor", "local", "--quiet")


@fuzzed
def test_a_record_in_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    model, manifest = tmp_path / "a.onnx", tmp_path / "models.yaml"
    model.write_bytes(b"model")
    manifest.write_text("version: 1\nmodels:\n- {name: seg, source: a.onnx}\n")
    (tmp_path / "built.plan").write_bytes(PLAN_BYTES)
    spec = ModelSpec(name="seg", source=str(model), line=1)
    record = report_of(spec, tmp_path / "models" / "seg", {"model": digest(b"model")}, RUNTIME)
    store = Store(Path(os.environ["PREPARE_MODELS_CACHE_DIR"]) / "engines", Digests())
    entry = store.put(record, {PLAN: tmp_path / "built.plan"})
    write_record(entry.plan.parent, data.draw(changed(record)))
    for action in ("ls", "verify"):
        never_a_bug(capsys, "cache", action)
    never_a_bug(capsys, "cache", "show", entry.key)


@fuzzed
def test_a_record_in_a_models_directory(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    folder = tmp_path / "models" / "net"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.plan").write_bytes(PLAN_BYTES)
    spec = ModelSpec(name="net", source=str(site.folder / "net.onnx"), line=1)
    record = report_of(spec, folder, {"model": digest(bytes(range(100)))}, RUNTIME)
    (folder / "report.json").write_bytes(data.draw(changed(record)))
    never_a_bug(capsys, "status", str(folder.parent))
    never_a_bug(capsys, "plan", str(site.manifest), "--executor", "local", "--models-dir", str(folder.parent))


@fuzzed
def test_a_list_of_keys(site: Site, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    keys = Path(os.environ["PREPARE_MODELS_TRUSTED_KEYS"])
    keys.write_bytes(data.draw(changed(json.loads(site.keys.to_json()))))
    never_a_bug(capsys, "trust", "ls")
    never_a_bug(capsys, "bundle", "verify", str(site.bundle), "--require-signed")


@fuzzed
def test_a_signature(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    """What is signed is changed before, so that a true signature is of anything; or the envelope is."""
    bundle, sig = tmp_path / "site.bundle", tmp_path / "site.bundle.sig"
    bundle.write_bytes(site.bundle.read_bytes())
    envelope = json.loads(releases.signature_of(site.bundle).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    if data.draw(st.booleans()):
        sig.write_bytes(envelopes.seal(data.draw(changed(statement)), envelopes.STATEMENT, site.signer))
    else:
        sig.write_bytes(data.draw(changed(envelope)))
    never_a_bug(capsys, "bundle", "verify", str(bundle), "--public-key", str(site.folder / "key.pub"))


@fuzzed
def test_what_was_accepted(site: Site, capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    release = {"kind": "bundle", "series": "models", "counter": 2, "sha256": "0" * 64}
    state = Path(os.environ["PREPARE_MODELS_STATE_DIR"])
    state.mkdir(exist_ok=True)
    document = {"version": 1, "accepted": {"bundle models": release}}
    (state / "accepted.json").write_bytes(data.draw(changed(document)))
    never_a_bug(capsys, "bundle", "verify", str(site.bundle), "--public-key", str(site.folder / "key.pub"))


def test_a_document_of_too_many_values_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(ContractError, match="more than 3000000 values"):
        schema.loads(b"[" + b"[]," * 3_000_000 + b"0]")
    assert len(schema.loads(b"[" + b"0," * 1_000_000 + b"0]")) == 1_000_001
