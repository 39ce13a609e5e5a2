"""fp16 and int8 on a backend that takes types from the graph: real caches, real rewritten graphs, real engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import networks
from tests.command import Workplace
from tests.engine.caches import measured
from tests.engine.graphs import quantized

FLOAT = TensorProto.FLOAT


def test_the_three_precisions_give_three_sizes_with_the_same_bindings(place: Workplace) -> None:
    networks.heavy(place.folder / "model.onnx", layers=8)
    measured(place.folder / "model.onnx", place.folder / "cal.bin")
    reports = {
        "fp32": place.build(source="model.onnx"),
        "fp16": place.build(source="model.onnx", precision="fp16"),
        "int8": place.build(source="model.onnx", precision="int8", calibration_cache="cal.bin"),
    }
    sizes = {name: report["engine"]["bytes"] for name, report in reports.items()}
    assert sizes["fp16"] <= 0.55 * sizes["fp32"]
    assert sizes["int8"] <= 0.40 * sizes["fp32"]
    assert {name: report["precision_proof"]["delivered"] for name, report in reports.items()} == {n: n for n in reports}
    assert {str([(b["name"], b["dtype"]) for b in report["io"]]) for report in reports.values()} == {
        "[('input', 'float32'), ('output', 'float32')]"
    }
    words = {layer["precision"] for report in reports.values() for layer in report["details"]["layers"]}
    assert {"fp32", "fp16", "int8"} == words, "the layers speak of precisions as the manifest does"
    proof = reports["int8"]["precision_proof"]
    assert (proof["source"], proof["layers"]) == ("graph", {"int8": 8})
    assert proof["layers_share"] == proof["weights_share"] == {"int8": 1.0}
    assert (proof["calibration"]["wanted"], proof["calibration"]["covered"]) == (8, 8)
    assert proof["calibration"]["written_for"] == ["8.6.1"]


@pytest.mark.parametrize(
    ("cache", "code"),
    [
        (b"", "source-not-a-model"),
        (b"TRT-8601-EntropyCalibration2\n", "calibration-cache-invalid"),
        (b"<html>\n", "source-not-a-model"),
        (b"TRT-8601-EntropyCalibration2\nother: 3c010a14\n", "calibration-cache-foreign"),
        (None, "source-not-found"),
    ],
    ids=["empty", "header only", "html", "of another model", "missing"],
)
def test_a_cache_that_is_of_no_use_is_an_error(place: Workplace, cache: bytes | None, code: str) -> None:
    networks.conv(place.folder / "model.onnx")
    if cache is not None:
        (place.folder / "cal.bin").write_bytes(cache)
    report = place.build(source="model.onnx", precision="int8", calibration_cache="cal.bin")
    assert report["error"]["code"] == code
    assert report["error"]["hint"]
    assert not (place.models_dir / "model").exists()


def test_int8_without_any_scales_is_refused(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    error = place.build(source="model.onnx", precision="int8")["error"]
    assert error["code"] == "calibration-missing"
    assert "calibration_cache" in error["hint"]


def test_a_cache_for_a_part_builds_with_a_warning_that_names_the_rest(place: Workplace) -> None:
    networks.heavy(place.folder / "model.onnx", layers=4)
    cache = measured(place.folder / "model.onnx", place.folder / "cal.bin")
    lines = [line for line in cache.read_text(encoding="utf-8").splitlines() if not line.startswith("output")]
    kept = [line for line in lines if not line.startswith("input:")]
    cache.write_text("\n".join([*kept, "stale_tensor: 3c010a14", ""]), encoding="utf-8")
    report = place.build(source="model.onnx", precision="int8", calibration_cache="cal.bin")
    assert report["status"] == "built"
    calibration = report["precision_proof"]["calibration"]
    assert (calibration["covered"], calibration["missing"], calibration["stale"]) == (3, ["input"], ["stale_tensor"])
    assert any(w["code"] == "calibration-incomplete" and "input" in w["message"] for w in report["warnings"])
    assert report["precision_proof"]["layers"] == {"int8": 3, "fp16": 1}


def test_a_model_with_its_own_quantization_needs_no_cache(place: Workplace) -> None:
    model = onnx.load(str(networks.conv(place.folder / "plain.onnx")))
    quantized(model, "input")
    onnx.save(model, str(place.folder / "model.onnx"))
    report = place.build(source="model.onnx", precision="int8")
    assert (report["status"], report["precision_proof"]["delivered"]) == ("built", "int8")
    assert "Q/DQ nodes of the model" in report["precision_proof"]["how"]


def matrix_product(path: Path, kind: int, *, quantized_to: int | None = None) -> Path:
    """One matrix product that computes in ``kind``, or on values quantized to a type; bindings are float32."""
    random = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    stored = kind if quantized_to is None else quantized_to
    tensors = [helper.make_tensor("w", stored, (64, 64), random.ravel())]
    if quantized_to is None:
        nodes = [helper.make_node("Cast", ["input"], ["x"], to=kind), helper.make_node("MatMul", ["x", "w"], ["y"])]
        nodes.append(helper.make_node("Cast", ["y"], ["output"], to=FLOAT))
    else:
        tensors += [helper.make_tensor("scale", FLOAT, (), [0.05]), helper.make_tensor("zero", quantized_to, (), [0.0])]
        pairs = (("QuantizeLinear", "input", "q"), ("DequantizeLinear", "q", "x"), ("DequantizeLinear", "w", "v"))
        nodes = [helper.make_node(operator, [source, "scale", "zero"], [target]) for operator, source, target in pairs]
        nodes.append(helper.make_node("MatMul", ["x", "v"], ["output"]))
    value = (FLOAT, (1, 64))
    ends = [helper.make_tensor_value_info(name, *value) for name in ("input", "output")]
    model = helper.make_graph(nodes, "test", ends[:1], ends[1:], initializer=tensors)
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), str(path))
    return path


def test_a_model_of_the_users_own_in_bf16_or_fp8_is_built_as_it_is(place: Workplace) -> None:
    matrix_product(place.folder / "bf16.onnx", TensorProto.BFLOAT16)
    matrix_product(place.folder / "fp8.onnx", FLOAT, quantized_to=TensorProto.FLOAT8E4M3FN)
    for precision in ("bf16", "fp8"):
        report = place.build(source=f"{precision}.onnx", precision=precision)
        assert report["status"] == "built", report["error"]
        proof = report["precision_proof"]
        assert (proof["delivered"], proof["layers"], proof["source"]) == (precision, {precision: 1}, "graph")


def test_a_model_is_rewritten_to_bf16(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = place.build(source="model.onnx", precision="bf16")
    assert report["status"] == "built", report["error"]
    assert report["precision_proof"]["layers"] == {"bf16": 1}
    assert {binding["dtype"] for binding in report["io"]} == {"float32"}


@pytest.mark.parametrize("command", ["check", "run"])
def test_fp8_without_what_makes_its_scales_is_refused_with_the_extra_to_install(place: Workplace, command: str) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "images").mkdir()
    np.save(place.folder / "images" / "0.npy", np.zeros((1, 3, 32, 32), np.float32))
    place.write({"name": "model", "source": "model.onnx", "precision": "fp8", "calibration": {"images": "images"}})
    result = place.run() if command == "run" else place.call("check", str(place.manifest), "--json")
    error = result.model("model")["error"]
    assert error["code"] == "precision-unavailable"
    assert "[modelopt]" in error["hint"]
