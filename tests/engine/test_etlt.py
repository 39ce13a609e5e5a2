"""Encrypted TAO models, encrypted here with NVIDIA's own codec."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests import networks
from tests.command import Workplace
from tests.defects import KEY, encrypt


@pytest.fixture
def models(place: Workplace) -> Workplace:
    networks.conv(place.folder / "plain.onnx")
    encrypt(place.folder / "plain.onnx", place.folder / "model.etlt")
    return place


def build(place: Workplace, model: dict[str, Any], **variables: str) -> dict[str, Any]:
    place.write({"name": "model", **model})
    result = place.run("-v", **variables)
    everything = result.stdout + result.stderr
    assert KEY not in everything, "no output holds the key"
    return result.model("model")


def test_an_etlt_gives_the_engine_of_its_onnx(models: Workplace) -> None:
    encrypted = build(models, {"source": "model.etlt", "key": {"env": "MODEL_KEY"}}, MODEL_KEY=KEY)
    plain = build(models, {"source": "plain.onnx"})
    assert encrypted["status"] == plain["status"] == "built"
    assert encrypted["engine"]["sha256"] == plain["engine"]["sha256"]


@pytest.mark.parametrize("form", ["literal", "env", "file"])
def test_a_key_comes_from_the_manifest_a_variable_or_a_file(models: Workplace, form: str) -> None:
    (models.folder / "model.key").write_text(KEY + "\n", encoding="utf-8")
    key = {"literal": KEY, "env": {"env": "MODEL_KEY"}, "file": {"file": "model.key"}}[form]
    report = build(models, {"source": "model.etlt", "key": key}, MODEL_KEY=KEY)
    assert report["status"] == "built"


def test_no_file_of_a_run_holds_the_key_or_the_plain_model(models: Workplace) -> None:
    build(models, {"source": "model.etlt", "key": {"env": "MODEL_KEY"}}, MODEL_KEY=KEY)
    plain = (models.folder / "plain.onnx").read_bytes()
    for folder in (models.models_dir, models.cache_dir):
        for file in filter(Path.is_file, folder.rglob("*")):
            data = file.read_bytes()
            assert KEY.encode() not in data, file
            assert plain not in data, file


@pytest.mark.parametrize(
    ("key", "code"),
    [("wrong", "etlt-key-wrong"), (None, "etlt-key-missing"), ({"env": "NOT_SET"}, "etlt-key-missing")],
)
def test_a_wrong_or_missing_key_is_named_as_such(models: Workplace, key: Any, code: str) -> None:
    model = {"source": "model.etlt", **({"key": key} if key else {})}
    error = build(models, model)["error"]
    assert error["code"] == code
    assert error["hint"]


def test_a_uff_payload_is_told_without_the_key(place: Workplace) -> None:
    name = b"input_1"
    (place.folder / "model.etlt").write_bytes(struct.pack("<i", len(name)) + name + bytes(64))
    error = build(place, {"source": "model.etlt", "key": "any"})["error"]
    assert error["code"] == "etlt-uff"
    assert "input_1" in error["message"]


def test_a_truncated_container_is_invalid(place: Workplace) -> None:
    (place.folder / "model.etlt").write_bytes(b"\0\0\0\0\x01")
    assert build(place, {"source": "model.etlt", "key": "any"})["error"]["code"] == "etlt-invalid"


def test_inspect_shows_an_etlt_with_its_key(models: Workplace) -> None:
    (models.folder / "model.key").write_text(KEY, encoding="utf-8")
    closed = json.loads(models.call("inspect", "model.etlt", "--json").stdout)
    assert (closed["payload"], closed["io"]) == ("onnx", None)
    opened = json.loads(models.call("inspect", "model.etlt", "--key-file", "model.key", "--json").stdout)
    assert [binding["name"] for binding in opened["io"]] == ["input", "output"]
