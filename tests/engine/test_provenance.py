"""Where engines come from: statements that other libraries read, and signatures that a flipped byte breaks."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from tests import networks
from tests.command import Result, Workplace
from tests.engine.caches import measured

KINDS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("provenance"))
    networks.conv(place.folder / "net.onnx")
    measured(place.folder / "net.onnx", place.folder / "cal.bin")
    plain = {"name": "plain", "source": "net.onnx"}
    int8 = {"name": "int8", "source": "net.onnx", "precision": "int8", "calibration_cache": "cal.bin"}
    place.write(plain, int8)
    result = place.run()
    assert result.status == 0, result.stderr
    return place


@pytest.fixture
def place(built: Workplace, tmp_path: Path) -> Workplace:
    """A copy of what was built, to be damaged."""
    shutil.copytree(built.folder, tmp_path / "copy", symlinks=True)
    return Workplace(tmp_path / "copy")


def write_key(folder: Path, kind: str = "ed25519", password: bytes | None = None) -> None:
    key: Any = KINDS[kind]()
    secret = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, secret))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(public)


def sign(place: Workplace, *more: str) -> Result:
    return place.call("provenance", "sign", "models", "--key", "key.pem", *more)


def verify(place: Workplace, *more: str) -> Result:
    return place.call("provenance", "verify", "models", "--key", "key.pub", *more)


def verdicts(result: Result) -> dict[str, bool]:
    return {finding["model"]: finding["good"] for finding in json.loads(result.stdout)["engines"]}


def statement(place: Workplace, name: str) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((place.models_dir / name / "provenance.json").read_text(encoding="utf-8"))
    return raw


def test_a_statement_names_engine_materials_and_builder(built: Workplace) -> None:
    found = statement(built, "int8")
    # in-toto's own readers, which take no field that they don't know
    Statement.copy_from_pb(json_format.ParseDict(found, StatementMessage())).validate()
    predicate = json_format.ParseDict(found["predicate"], Provenance())
    for described in (*predicate.build_definition.resolved_dependencies, *predicate.run_details.byproducts):
        assert described.uri or described.digest
    plan = (built.models_dir / "int8" / "1" / "model.plan").read_bytes()
    assert found["subject"] == [{"name": "1/model.plan", "digest": {"sha256": hashlib.sha256(plan).hexdigest()}}]
    definition, details = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    files = {"model": built.folder / "net.onnx", "calibration_cache": built.folder / "cal.bin"}
    assert definition["resolvedDependencies"] == [
        {"name": role, "uri": file.as_uri(), "digest": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}
        for role, file in files.items()
    ]
    report = json.loads((built.models_dir / "int8" / "report.json").read_text(encoding="utf-8"))
    assert definition["internalParameters"]["buildKey"] == report["build_key"]
    assert definition["internalParameters"]["precisionDelivered"] == "int8"
    assert details["builder"]["version"]["tensorrt_rtx"] == report["runtime"]["backend"]["version"]
    assert details["builder"]["version"]["prepare-models"] == report["made_by"]["tool"] != ""
    assert definition["internalParameters"]["device"]["target"] == "portable"
    assert details["metadata"]["startedOn"] < details["metadata"]["finishedOn"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_verifies_with_the_public_key_alone(place: Workplace, kind: str) -> None:
    write_key(place.folder, kind)
    assert verdicts(sign(place, "--json")) == {"int8": True, "plain": True}
    (place.folder / "key.pem").unlink()
    result = verify(place, "--json")
    assert (result.status, verdicts(result)) == (0, {"int8": True, "plain": True})


def flip(file: Path, index: int) -> None:
    data = bytearray(file.read_bytes())
    data[index] ^= 1
    file.write_bytes(bytes(data))


def in_envelope(place: Workplace, field: str, index: int) -> None:
    """Flip a bit of the signature or of what is signed, within a sound envelope."""
    file = place.models_dir / "plain" / "provenance.dsse.json"
    raw = json.loads(file.read_text(encoding="utf-8"))
    holder, name = (raw, "payload") if field == "payload" else (raw["signatures"][0], "sig")
    data = bytearray(base64.b64decode(holder[name]))
    data[index] ^= 1
    holder[name] = base64.b64encode(bytes(data)).decode("ascii")
    file.write_text(json.dumps(raw), encoding="utf-8")


def test_a_flipped_byte_anywhere_is_found_and_only_there(place: Workplace, tmp_path: Path) -> None:
    write_key(place.folder)
    assert sign(place).status == 0
    sound = tmp_path / "sound"
    shutil.copytree(place.models_dir, sound)
    folder = place.models_dir / "plain"
    damages: dict[str, Callable[[], None]] = {
        "engine": lambda: flip(folder / "1" / "model.plan", -1),
        "statement": lambda: flip(folder / "provenance.json", 200),
        "signature": lambda: in_envelope(place, "sig", 5),
        "signed statement": lambda: in_envelope(place, "payload", 200),
        "envelope": lambda: flip(folder / "provenance.dsse.json", 0),
        "no envelope": (folder / "provenance.dsse.json").unlink,
    }
    for damage, do in damages.items():
        shutil.rmtree(place.models_dir)
        shutil.copytree(sound, place.models_dir)
        do()
        result = verify(place, "--json")
        assert (result.status, verdicts(result)) == (1, {"int8": True, "plain": False}), damage


def test_another_key_is_not_enough(place: Workplace) -> None:
    write_key(place.folder)
    assert sign(place).status == 0
    write_key(place.folder)
    result = verify(place)
    assert result.status == 1
    assert "not by this key" in result.stdout


def test_a_damaged_engine_is_not_signed(place: Workplace) -> None:
    write_key(place.folder)
    flip(place.models_dir / "plain" / "1" / "model.plan", 100)
    result = sign(place, "--json")
    assert (result.status, verdicts(result)) == (1, {"int8": True, "plain": False})
    assert not (place.models_dir / "plain" / "provenance.dsse.json").exists()
    assert place.call("provenance", "verify", "models/plain").status == 1  # without a key, too


def test_a_key_with_a_password_comes_from_files_and_shows_nowhere(place: Workplace) -> None:
    write_key(place.folder, password=b"correct horse")
    without = sign(place)
    assert (without.status, "password" in without.stderr) == (2, True)
    (place.folder / "password").write_text("correct horse\n", encoding="utf-8")
    result = sign(place, "--password-file", "password")
    assert result.status == 0, result.stderr
    assert verify(place).status == 0
    assert "correct horse" not in result.stdout + result.stderr


def test_another_engine_takes_statement_and_signature_along(place: Workplace) -> None:
    write_key(place.folder)
    assert sign(place).status == 0
    before = statement(place, "plain")["subject"]
    networks.conv(place.folder / "net.onnx", seed=1)
    place.write({"name": "plain", "source": "net.onnx"})
    assert place.run().model("plain")["status"] == "built"
    assert statement(place, "plain")["subject"] != before
    assert not (place.models_dir / "plain" / "provenance.dsse.json").exists()
    (place.models_dir / "plain" / "provenance.json").unlink()
    assert place.run().model("plain")["reason"] == "restore because: provenance.json is missing"
    assert place.call("provenance", "verify", "models/plain").status == 0


@pytest.mark.parametrize(("places", "told"), [("nowhere", "no provenance.json"), ("models", "key.pub can't be read")])
def test_mistakes_are_usage_errors(place: Workplace, places: str, told: str) -> None:
    result = place.call("provenance", "verify", places, "--key", "key.pub")
    assert result.status == 2
    assert told in result.stderr
