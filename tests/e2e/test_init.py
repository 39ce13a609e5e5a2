"""``prepare-models init`` of model files: a manifest with what they say, which runs as it is or says what it needs."""

from __future__ import annotations

import pytest
import yaml

from tests import networks
from tests.command import Workplace


def test_the_manifest_of_a_static_model_runs_as_it_is(place: Workplace) -> None:
    networks.conv(place.folder / "Net.onnx")
    made = place.call("init", "Net.onnx")
    assert made.status == 0, made.stderr
    assert "models.yaml: net" in made.stdout
    text = place.manifest.read_text(encoding="utf-8")
    assert "# - input   input   float32  1x3x32x32" in text
    assert "# - output  output  float32  1x4x32x32" in text
    assert yaml.safe_load(text) == {"version": 1, "models": [{"name": "net", "source": "Net.onnx"}]}
    assert place.call("run", "--executor", "local", "--json").model("net")["status"] == "built"


def test_dynamic_axes_are_named_and_wait_for_their_sizes(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx", ("batch", 3, "height", "width"))
    assert place.call("init", "net.onnx").status == 0
    text = place.manifest.read_text(encoding="utf-8")
    assert '    # inputs:\n    #   "input": BATCHx3xHEIGHTxWIDTH\n' in text
    filled = text.replace("# inputs:", "inputs:").replace('#   "input"', '  "input"')
    place.manifest.write_text(filled.replace("BATCHx3xHEIGHTxWIDTH", "1x3x48x64"), encoding="utf-8")
    assert place.call("run", "--executor", "local", "--json").model("net")["status"] == "built"


def test_every_comment_is_what_the_manifest_takes(place: Workplace) -> None:
    networks.named(place.folder / "net.onnx", ["in: 1"], ["out, #2"])
    assert place.call("init", "net.onnx").status == 0
    text = place.manifest.read_text(encoding="utf-8")
    place.manifest.write_text(text.replace("    # ", "    "), encoding="utf-8")
    assert place.call("run", "--executor", "local", "--json").model("net")["precision_proof"]["delivered"] == "fp16"


def test_without_onnx_the_manifest_says_what_was_not_read(place: Workplace) -> None:
    networks.conv(place.folder / "net.onnx")
    (place.folder / "lib").mkdir()
    (place.folder / "lib/onnx.py").write_text(
        "raise ModuleNotFoundError('not installed', name='onnx')", encoding="utf-8"
    )
    made = place.call("init", "net.onnx", PYTHONPATH=str(place.folder / "lib"))
    assert made.status == 0, made.stderr
    text = place.manifest.read_text(encoding="utf-8")
    assert "names and shapes were not read" in text
    assert yaml.safe_load(text)["models"] == [{"name": "net", "source": "net.onnx"}]


def test_files_of_one_name_urls_and_the_catalog_together(place: Workplace) -> None:
    for folder in ("a", "b"):
        (place.folder / folder).mkdir()
        networks.conv(place.folder / folder / "model.onnx")
    hub = "hf://onnx-community/yolov10n@main/onnx/yolo.onnx"
    made = place.call("init", "a/model.onnx", "b/model.onnx", hub, "bi3d-featnet-2.0.0")
    assert made.status == 0, made.stderr
    models = yaml.safe_load(place.manifest.read_text(encoding="utf-8"))["models"]
    assert [model["name"] for model in models] == ["model", "model-2", "yolo", "bi3d-featnet-2.0.0"]
    assert [model["source"] for model in models] == [
        "a/model.onnx", "b/model.onnx", hub, "catalog:bi3d-featnet-2.0.0",
    ]  # fmt: skip


def test_an_encrypted_model_names_the_variable_of_its_key(place: Workplace) -> None:
    (place.folder / "seg.etlt").write_bytes(b"\x00\x00\x00\x00" + bytes(range(64)))
    made = place.call("init", "seg.etlt")
    assert made.status == 0, made.stderr
    (model,) = yaml.safe_load(place.manifest.read_text(encoding="utf-8"))["models"]
    assert model["key"] == {"env": "MODEL_KEY"}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing.onnx", "missing.onnx does not exist"),
        ("~nobody-knows/net.onnx", "net.onnx does not exist"),
        ("text.onnx", "text"),
        ("peoplesemsegnt", "did you mean"),
        ("ngc://nvidia/tao/peoplesemsegnet", "prepare-models ngc versions"),
    ],
)
def test_what_is_not_a_model_is_refused(place: Workplace, model: str, said: str) -> None:
    (place.folder / "text.onnx").write_text("hello", encoding="utf-8")
    refused = place.call("init", model)
    assert refused.status == 2
    assert said in refused.stderr
    assert not place.manifest.exists()
