"""Real engines from TensorRT-RTX: what the builder is given, and what is refused before it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from tests import networks
from tests.command import Workplace

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "model.onnx"


def build(place: Workplace, **model: Any) -> dict[str, Any]:
    place.write({"name": "model", **model})
    result = place.run()
    assert result.status in (0, 1), result.stderr
    return result.model("model")


def error_of(report: dict[str, Any]) -> dict[str, Any]:
    assert report["status"] == "failed"
    error: dict[str, Any] = report["error"]
    assert error["hint"]
    return error


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, dict[str, Any]]:
    place = Workplace(tmp_path_factory.mktemp("quickstart"))
    return place, build(place, source=str(QUICKSTART), outputs=["argmax_1"])


def test_the_quickstart_engine_is_a_plan_of_this_backend(quickstart: tuple[Workplace, dict[str, Any]]) -> None:
    place, report = quickstart
    plan = (place.models_dir / "model/1/model.plan").read_bytes()
    assert plan[:4] == b"vtrt"
    assert len(plan) == report["engine"]["bytes"]
    assert report["engine"]["header"]["version"] == report["runtime"]["backend"]["version"]


def test_binding_names_types_and_shapes_are_those_of_the_model(quickstart: tuple[Workplace, dict[str, Any]]) -> None:
    graph = onnx.load(str(QUICKSTART)).graph
    bindings = {binding["name"]: binding for binding in quickstart[1]["io"]}
    assert list(bindings) == [value.name for value in (*graph.input, *graph.output)] == ["input_2:0", "argmax_1"]
    assert (bindings["input_2:0"]["dtype"], bindings["input_2:0"]["shape"]) == ("float32", [1, 3, 544, 960])
    assert (bindings["argmax_1"]["dtype"], bindings["argmax_1"]["shape"]) == ("int32", [1, 544, 960, 1])


def test_config_pbtxt_is_a_model_configuration_of_triton(quickstart: tuple[Workplace, dict[str, Any]]) -> None:
    place, report = quickstart
    text = (place.models_dir / "model/config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert (config.name, config.platform, config.max_batch_size) == ("model", "tensorrt_plan", 0)
    tensors = [(tensor.name, list(tensor.dims)) for tensor in (*config.input, *config.output)]
    assert tensors == [(binding["name"], binding["shape"]) for binding in report["io"]]
    assert config.output[0].data_type == model_config_pb2.TYPE_INT32


def test_building_twice_gives_the_same_bytes(quickstart: tuple[Workplace, dict[str, Any]], place: Workplace) -> None:
    assert build(place, source=str(QUICKSTART))["engine"]["sha256"] == quickstart[1]["engine"]["sha256"]


def test_fp16_makes_a_smaller_engine_with_the_same_bindings(place: Workplace) -> None:
    networks.heavy(place.folder / "heavy.onnx", layers=8)
    full = build(place, source="heavy.onnx")
    half = build(place, source="heavy.onnx", precision="fp16")
    assert half["precision_proof"]["delivered"] == "fp16"
    assert half["engine"]["bytes"] < 0.6 * full["engine"]["bytes"]
    assert [(b["name"], b["dtype"]) for b in half["io"]] == [("input", "float32"), ("output", "float32")]


def test_dynamic_dimensions_get_the_profile_of_the_manifest(place: Workplace) -> None:
    networks.conv(place.folder / "dynamic.onnx", ("batch", 3, 32, 32))
    shapes = {"min": "1x3x32x32", "opt": "4x3x32x32", "max": "8x3x32x32"}
    report = build(place, source="dynamic.onnx", inputs={"input": shapes})
    assert report["status"] == "built"
    expected = {key: [int(size) for size in shape.split("x")] for key, shape in shapes.items()}
    assert report["profiles"] == [{"input": expected}]
    assert report["io"][0]["shape"] == [-1, 3, 32, 32]
    assert report["io"][0]["profiles"] == [expected]
    assert "--maxShapes=input:8x3x32x32" in report["trtexec_command"]
    config = (place.models_dir / "model/config.pbtxt").read_text(encoding="utf-8")
    assert "max_batch_size: 8\n" in config
    assert "dims: [3, 32, 32]" in config


def test_dynamic_dimensions_without_shapes_say_what_to_write(place: Workplace) -> None:
    networks.conv(place.folder / "dynamic.onnx", ("batch", 3, 32, 32))
    error = error_of(build(place, source="dynamic.onnx"))
    assert error["code"] == "inputs-missing"
    manifest, _, _ = error["hint"].partition("inputs: ")[2].partition("--shape ")
    suggested = yaml.safe_load(manifest.partition("}}")[0] + "}}")
    assert build(place, source="dynamic.onnx", inputs=suggested)["status"] == "built", "the hint can be pasted"


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"inptu": "1x3x32x32"}, "inputs-unknown"),
        ({"input": "1x3x32"}, "inputs-mismatch"),
        ({"input": "1x3x32x64"}, "inputs-mismatch"),
    ],
)
def test_shapes_that_contradict_the_model_are_refused(place: Workplace, inputs: dict[str, str], code: str) -> None:
    networks.conv(place.folder / "static.onnx")
    error = error_of(build(place, source="static.onnx", inputs=inputs))
    assert error["code"] == code
    assert "1x3x32x32" in error["message"] + error["hint"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(bytes(100), "network-empty"), (b"", "source-not-a-model"), (b"\n<!DOCTYPE html>", "source-not-a-model")],
    ids=["zeros", "empty", "html"],
)
def test_files_that_are_no_network(place: Workplace, data: bytes, code: str) -> None:
    (place.folder / "model.onnx").write_bytes(data)
    assert error_of(build(place, source="model.onnx"))["code"] == code


def test_a_truncated_model_is_invalid(place: Workplace) -> None:
    whole = networks.heavy(place.folder / "whole.onnx", layers=2).read_bytes()
    (place.folder / "model.onnx").write_bytes(whole[: len(whole) // 2])
    assert error_of(build(place, source="model.onnx"))["code"] == "onnx-invalid"


def test_a_plugin_operator_is_named_with_its_node(place: Workplace) -> None:
    value = (TensorProto.FLOAT, (1, 8))
    node = helper.make_node("EfficientNMS_TRT", ["input"], ["output"], name="nms_node")
    networks.save(place.folder / "model.onnx", [node], [("input", *value)], [("output", *value)])
    error = error_of(build(place, source="model.onnx"))
    assert error["code"] == "plugin-missing"
    assert "EfficientNMS_TRT" in error["message"]
    assert "nms_node" in error["message"]


def test_the_effective_builder_configuration_is_reported(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    builder = {"workspace": "512MiB", "optimization_level": 2, "tf32": False}
    report = build(place, source="model.onnx", builder=builder)
    assert report["builder"]["workspace_bytes"] == 512 << 20
    assert report["builder"]["optimization_level"] == 2
    assert "TF32" not in report["builder"]["flags"]
    for option in ("--memPoolSize=workspace:512M", "--builderOptimizationLevel=2", "--noTF32"):
        assert option in report["trtexec_command"]


def test_a_pinned_digest_is_enforced(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    assert error_of(build(place, source="model.onnx", sha256="0" * 64))["code"] == "digest-mismatch"


def test_the_report_beside_the_engine_is_its_record(quickstart: tuple[Workplace, dict[str, Any]]) -> None:
    place, report = quickstart
    record = json.loads((place.models_dir / "model/report.json").read_text(encoding="utf-8"))
    assert record["engine"] == report["engine"]
    assert record["build_key"] == report["build_key"]
    assert record["status"] == "built"


def test_every_stage_has_its_time_and_memory(quickstart: tuple[Workplace, dict[str, Any]]) -> None:
    stages = quickstart[1]["stages"]
    assert [stage["name"] for stage in stages] == ["fetch", "convert", "inspect"]
    assert all(stage["status"] == "done" and stage["seconds"] >= 0 for stage in stages)
    convert = stages[1]
    assert convert["peak_rss_bytes"] > 50 << 20, "the build process's memory, not the entrypoint's"


def test_inspect_reads_models_and_engines(quickstart: tuple[Workplace, dict[str, Any]]) -> None:
    place, report = quickstart
    plan = place.call("inspect", str(place.models_dir / "model/1/model.plan"), "--json").report
    model = place.call("inspect", str(QUICKSTART), "--json").report
    for document in (plan, model):
        assert [(b["name"], b["dtype"], b["shape"]) for b in document["io"]] == [
            (b["name"], b["dtype"], b["shape"]) for b in report["io"]
        ]
    text = place.call("inspect", str(place.models_dir), "--layers").stdout
    for expected in (
        "  ---- 1 Engine Input(s) ----\n  {input_2:0 [dtype=float32, shape=(1, 3, 544, 960)]}\n",
        "  ---- 1 Engine Output(s) ----\n  {argmax_1 [dtype=int32, shape=(1, 544, 960, 1)]}\n",
        "  ---- 1 Profile(s) (2 Tensor(s) Each) ----\n  - Profile: 0\n",
        "input_2:0  (Input), Index: 0 | Shapes: min=(1, 3, 544, 960), opt=(1, 3, 544, 960), max=(1, 3, 544, 960)\n",
        "argmax_1  (Output), Index: 1 | Shape: (1, 544, 960, 1)\n",
        "  Runs here: not known: built by TensorRT-RTX 1.7",
        "[CONVOLUTION, fp32] -> {encoder_1/conv}",
    ):
        assert expected in text
    missing = place.call("inspect", "nothing.onnx")
    assert (missing.status, "source-not-found" in missing.stderr) == (1, True)
