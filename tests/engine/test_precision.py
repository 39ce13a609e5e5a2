"""fp16 and int8 on a backend that takes types from the graph: real caches, real rewritten graphs, real engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from prepare_models_entrypoint.contract import BuilderConfig, ModelJob, OnnxConfig
from prepare_models_entrypoint.convert import batch_norm, calibration_cache, graph, quantize, surgery
from prepare_models_entrypoint.convert.typed_model import TypedModel, prepared
from prepare_models_entrypoint.errors import ConvertError
from tests import networks
from tests.command import Workplace
from tests.engine.caches import measured

FLOAT = TensorProto.FLOAT


def build(place: Workplace, **model: Any) -> dict[str, Any]:
    place.write({"name": "model", **model})
    result = place.run()
    assert result.status in (0, 1), result.stderr
    return result.model("model")


def quantized(model: onnx.ModelProto, *names: str, **options: Any) -> quantize.Quantized:
    scales = dict.fromkeys(names, 0.05)
    return quantize.insert(model, scales, names=graph.tensor_names(model), **options)


def answers(model: onnx.ModelProto | str, feed: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    results: list[Any] = session.run(None, {session.get_inputs()[0].name: feed})
    return results


def loop_free(nodes: list[Any], weights: dict[str, Any], shape: Any = (1, 4, 8, 8)) -> onnx.ModelProto:
    proto = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info("input", FLOAT, shape)],
        [helper.make_tensor_value_info("output", FLOAT, ("a", "b", "c", "d"))],
        initializer=[numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weight(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def test_the_three_precisions_give_three_sizes_with_the_same_bindings(place: Workplace) -> None:
    networks.heavy(place.folder / "model.onnx", layers=8)
    measured(place.folder / "model.onnx", place.folder / "cal.bin")
    reports = {
        "fp32": build(place, source="model.onnx"),
        "fp16": build(place, source="model.onnx", precision="fp16"),
        "int8": build(place, source="model.onnx", precision="int8", calibration_cache="cal.bin"),
    }
    sizes = {name: report["engine"]["bytes"] for name, report in reports.items()}
    assert sizes["fp16"] <= 0.55 * sizes["fp32"]
    assert sizes["int8"] <= 0.40 * sizes["fp32"]
    assert {name: report["precision_proof"]["delivered"] for name, report in reports.items()} == {n: n for n in reports}
    assert {str([(b["name"], b["dtype"]) for b in report["io"]]) for report in reports.values()} == {
        "[('input', 'float32'), ('output', 'float32')]"
    }
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
    report = build(place, source="model.onnx", precision="int8", calibration_cache="cal.bin")
    assert report["error"]["code"] == code
    assert report["error"]["hint"]
    assert not (place.models_dir / "model").exists()


def test_int8_without_any_scales_is_refused(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    error = build(place, source="model.onnx", precision="int8")["error"]
    assert error["code"] == "calibration-missing"
    assert "calibration_cache" in error["hint"]


def test_a_cache_for_a_part_builds_with_a_warning_that_names_the_rest(place: Workplace) -> None:
    networks.heavy(place.folder / "model.onnx", layers=4)
    cache = measured(place.folder / "model.onnx", place.folder / "cal.bin")
    lines = [line for line in cache.read_text(encoding="utf-8").splitlines() if not line.startswith("output")]
    kept = [line for line in lines if not line.startswith("input:")]
    cache.write_text("\n".join([*kept, "stale_tensor: 3c010a14", ""]), encoding="utf-8")
    report = build(place, source="model.onnx", precision="int8", calibration_cache="cal.bin")
    assert report["status"] == "built"
    calibration = report["precision_proof"]["calibration"]
    assert (calibration["covered"], calibration["missing"], calibration["stale"]) == (3, ["input"], ["stale_tensor"])
    assert any(w["code"] == "calibration-incomplete" and "input" in w["message"] for w in report["warnings"])
    assert report["precision_proof"]["layers"] == {"int8": 3, "fp16": 1}


def test_a_model_with_its_own_quantization_needs_no_cache(place: Workplace) -> None:
    model = onnx.load(str(networks.conv(place.folder / "plain.onnx")))
    quantized(model, "input")
    onnx.save(model, str(place.folder / "model.onnx"))
    report = build(place, source="model.onnx", precision="int8")
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
        report = build(place, source=f"{precision}.onnx", precision=precision)
        assert report["status"] == "built", report["error"]
        proof = report["precision_proof"]
        assert (proof["delivered"], proof["layers"], proof["source"]) == (precision, {precision: 1}, "graph")


@pytest.mark.parametrize("command", ["check", "run"])
def test_bf16_without_what_rewrites_to_it_is_refused_with_the_extra_to_install(place: Workplace, command: str) -> None:
    networks.conv(place.folder / "model.onnx")
    place.write({"name": "model", "source": "model.onnx", "precision": "bf16"})
    result = place.run() if command == "run" else place.call("check", str(place.manifest), "--json")
    error = result.model("model")["error"]
    assert error["code"] == "precision-unavailable"
    assert "prepare-models[modelopt]" in error["hint"]


def test_a_quantized_graph_answers_like_the_original() -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["hidden"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["hidden"], ["active"], name="relu"),
        helper.make_node("ConvTranspose", ["active", "wt"], ["output"], name="deconv"),
    ]
    model = loop_free(nodes, {"w": weight(6, 4, 3, 3), "wt": weight(6, 5, 2, 2)})
    feed = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    expected = answers(model, feed)[0]
    scales = {"input": 1 / 127, "active": 25 / 127}
    done = quantize.insert(model, scales, names=graph.tensor_names(model))
    onnx.checker.check_model(model, full_check=True)
    assert (done.layers, done.skipped) == (2, [])
    found = answers(model, feed)[0]
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_weights_get_a_scale_for_each_output_channel() -> None:
    values = np.array([[0.5, -1.0], [100.0, 25.0], [0.0, 0.0]], np.float32)
    integers, scale = quantize.per_channel(values, 0)
    assert np.allclose(scale, [1 / 127, 100 / 127, 1])
    assert integers.dtype == np.int8
    assert np.abs(integers * scale[:, None] - values).max() <= 100 / 127 / 2


def test_shared_weights_are_quantized_once() -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["hidden"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["hidden", "w"], ["output"], name="second", pads=[1, 1, 1, 1]),
    ]
    model = loop_free(nodes, {"w": weight(4, 4, 3, 3)})
    quantized(model, "input", "hidden")
    stored = [tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert stored == ["w_int8_0"], "one int8 copy, and the float weights are gone"


def test_weights_that_another_layer_reads_in_float_stay_beside_the_int8_ones() -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["hidden"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["hidden", "w"], ["output"], name="second", pads=[1, 1, 1, 1]),
    ]
    model = loop_free(nodes, {"w": weight(4, 4, 3, 3)})
    done = quantized(model, "input")
    assert done.skipped == ["Conv second"]
    assert {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 4} == {"w", "w_int8_0"}
    onnx.checker.check_model(model, full_check=True)


def test_what_a_concatenation_joins_has_one_scale() -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w"], ["b"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "b"], ["both"], name="concat", axis=1),
        helper.make_node("Conv", ["both", "wide"], ["output"], name="third"),
    ]
    model = loop_free(nodes, {"w": weight(4, 4, 3, 3), "wide": weight(2, 8, 1, 1)})
    scales = {"input": 0.02, "a": 0.05, "b": 0.2, "both": 0.1}
    quantize.insert(model, scales, names=graph.tensor_names(model))
    onnx.checker.check_model(model, full_check=True)
    tensors = [tensor for tensor in model.graph.initializer if tensor.name.endswith("_scale") and not tensor.dims]
    found = {tensor.name: float(numpy_helper.to_array(tensor)) for tensor in tensors}
    assert found == pytest.approx({"input_scale": 0.02, "a_scale": 0.2, "both_scale": 0.2})


def test_a_concatenation_that_stays_in_float_leaves_the_scales_of_its_parts_alone() -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "w"], ["b"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "b"], ["output"], name="concat", axis=1),
    ]
    model = loop_free(nodes, {"w": weight(4, 4, 3, 3)})
    quantize.insert(model, {"input": 0.02, "a": 0.05, "b": 0.2, "output": 0.2}, names=graph.tensor_names(model))
    scale = next(t for t in model.graph.initializer if t.name == "a_scale")
    assert float(numpy_helper.to_array(scale)) == pytest.approx(0.05)


@pytest.mark.parametrize(("operator", "kernel"), [("Conv", (6, 4, 3, 3)), ("ConvTranspose", (4, 6, 3, 3))])
def test_batch_normalization_is_folded_into_the_weights_before_they_are_quantized(
    operator: str, kernel: tuple[int, ...]
) -> None:
    nodes = [
        helper.make_node(operator, ["input", "w", "c"], ["hidden"], name="conv"),
        helper.make_node("BatchNormalization", ["hidden", "g", "o", "m", "v"], ["output"], name="norm", epsilon=1e-3),
    ]
    random = np.random.default_rng(3)
    vectors = {name: random.uniform(0.5, 2, 6).astype(np.float32) for name in "cgomv"}
    model = loop_free(nodes, {"w": weight(*kernel), **vectors})
    feed = random.uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    expected = answers(model, feed)[0]
    assert batch_norm.fold(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [operator]
    assert np.abs(answers(model, feed)[0] - expected).max() < 1e-4


@pytest.mark.parametrize("reader", ["output", "another layer"])
def test_batch_normalization_stays_where_something_else_reads_the_convolution(reader: str) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["hidden"], name="conv"),
        helper.make_node("BatchNormalization", ["hidden", "g", "g", "g", "g"], ["normal"], name="norm"),
        helper.make_node("Add", ["normal", "hidden"], ["output"], name="sum"),
    ]
    model = loop_free(nodes, {"w": weight(6, 4, 3, 3), "g": np.ones(6, np.float32)})
    if reader == "output":
        model.graph.node[2].input[1] = "normal"
        model.graph.output.append(helper.make_tensor_value_info("hidden", FLOAT, ("a", "b", "c", "d")))
    assert batch_norm.fold(model) == 0


def test_layers_in_a_branch_are_quantized_with_weights_from_outside() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Conv", ["input", "w"], [f"{name}_out"], name=name, pads=[1, 1, 1, 1])
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(f"{name}_out", FLOAT, ("a", "b", "c", "d"))]
        )

    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["output"], then_branch=branch("then"), else_branch=branch("else")),
    ]
    model = loop_free(nodes, {"w": weight(4, 4, 3, 3)})
    feed = np.random.default_rng(0).uniform(-6, 6, (1, 4, 8, 8)).astype(np.float32)
    expected = answers(model, feed)[0]
    assert quantized(model, "input").layers == 2
    onnx.checker.check_model(model, full_check=True)
    assert np.abs(answers(model, feed)[0] - expected).max() < 0.05 * np.abs(expected).max()
    assert "w" not in {tensor.name for tensor in model.graph.initializer}


@pytest.mark.parametrize(
    ("operator", "shape", "attributes", "axis"),
    [
        ("Conv", (4, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}, 0),
        ("ConvTranspose", (4, 2, 2, 2), {"group": 2}, None),
        ("ConvTranspose", (4, 2, 2, 2), {}, 1),
        ("MatMul", (8, 5), {}, 1),
        ("MatMul", (4, 8, 5), {}, None),
    ],
)
def test_the_axis_of_the_scales_is_that_of_the_output_channels(
    operator: str, shape: tuple[int, ...], attributes: dict[str, Any], axis: int | None
) -> None:
    model = loop_free(
        [helper.make_node(operator, ["input", "w"], ["output"], name="n", **attributes)], {"w": weight(*shape)}
    )
    quantized(model, "input")
    onnx.checker.check_model(model, full_check=True)
    node = next(node for node in model.graph.node if node.name.startswith("w_int8"))
    assert next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None) == axis


def test_layers_that_shall_stay_in_fp32_do(tmp_path: Path) -> None:
    source = networks.heavy(tmp_path / "model.onnx", layers=4)
    cache = calibration_cache.read(measured(source, tmp_path / "cal.bin"), "cal.bin")
    names = [node.name for node in onnx.load(str(source)).graph.node if node.op_type == "MatMul"]
    with _prepared(source, tmp_path, precision="int8", cache=cache, keep_fp32=(names[0],)) as typed:
        assert typed.evidence.layers == {"int8": 3, "fp32": 1}


def _prepared(source: Path, work: Path, *, cache: Any = None, **asked: Any) -> Any:
    job = ModelJob(name="m", source=str(source), output_dir="out", deploy_dir="out", **asked)
    return prepared(job, source, work, cache=cache, on_phase=lambda _: None)


def test_the_source_and_the_work_directory_are_left_as_they_were(tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx")
    before = source.read_bytes()
    (tmp_path / "work").mkdir()
    typed: TypedModel
    with _prepared(source, tmp_path / "work", precision="fp16") as typed:
        assert typed.path != source
    assert source.read_bytes() == before
    assert list((tmp_path / "work").iterdir()) == []


def test_an_old_opset_is_lifted_for_scales_by_channel(tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx")
    model = onnx.load(str(source))
    model.opset_import[0].version = 11
    onnx.save(model, str(source))
    cache = calibration_cache.read(measured(source, tmp_path / "cal.bin"), "cal.bin")
    with _prepared(
        source, tmp_path, precision="int8", cache=cache, builder=BuilderConfig(int8_remainder="fp32")
    ) as typed:
        rewritten = onnx.load(str(typed.path))
    assert graph.opset(rewritten) >= 13
    onnx.checker.check_model(rewritten, full_check=True)


def test_static_shapes_outputs_and_folding_change_the_graph(tmp_path: Path) -> None:
    source = networks.conv(tmp_path / "model.onnx", ("batch", 3, 32, 32))
    changes = OnnxConfig(static_shapes={"input": (2, 3, 32, 32)}, outputs=("hidden",))
    model = surgery.apply(onnx.load(str(source)), changes)
    assert [value.name for value in model.graph.output] == ["hidden"]
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    feed = np.zeros((2, 3, 32, 32), np.float32)
    assert answers(model, feed)[0].shape == (2, 4, 32, 32)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (OnnxConfig(static_shapes={"nope": (1,)}), "inputs-unknown"),
        (OnnxConfig(static_shapes={"input": (1,)}), "inputs-mismatch"),
        (OnnxConfig(outputs=("nope",)), "onnx-outputs-unknown"),
    ],
)
def test_changes_that_do_not_fit_are_refused(tmp_path: Path, changes: OnnxConfig, code: str) -> None:
    model = onnx.load(str(networks.conv(tmp_path / "model.onnx")))
    with pytest.raises(ConvertError) as caught:
        surgery.apply(model, changes)
    assert caught.value.code == code


def test_a_cache_is_made_from_samples_and_kept(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "samples").mkdir()
    for index in range(4):
        sample = np.random.default_rng(index).uniform(-2, 2, (1, 3, 32, 32)).astype(np.float32)
        np.save(place.folder / "samples" / f"{index}.npy", sample)
    report = build(place, source="model.onnx", precision="int8", calibration={"images": "samples", "limit": 3})
    assert report["status"] == "built", report["error"]
    made = place.models_dir / "model" / "calibration.cache"
    scales = calibration_cache.read(made, "made").scales
    assert scales["input"] == pytest.approx(2 / 127, rel=0.01)
    again = build(place, source="model.onnx", precision="int8", calibration_cache=str(made))
    assert again["engine"]["sha256"] == report["engine"]["sha256"]


def test_samples_that_were_moved_give_no_new_engine_and_changed_ones_do(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    (place.folder / "samples").mkdir()
    np.save(place.folder / "samples" / "0.npy", np.ones((1, 3, 32, 32), np.float32))
    model = {"source": "model.onnx", "precision": "int8"}
    first = build(place, calibration={"images": "samples"}, **model)
    assert first["status"] == "built", first["error"]
    (place.folder / "samples").rename(place.folder / "moved")
    assert build(place, calibration={"images": "moved"}, **model)["status"] == "up-to-date"
    np.save(place.folder / "moved" / "0.npy", np.full((1, 3, 32, 32), 2, np.float32))
    again = build(place, calibration={"images": "moved"}, **model)
    assert again["status"] == "built"
    assert "calibration sha256" in again["reason"]
    assert again["engine"]["sha256"] != first["engine"]["sha256"]


def test_samples_that_are_not_there_are_an_error(place: Workplace) -> None:
    networks.conv(place.folder / "model.onnx")
    report = build(place, source="model.onnx", precision="int8", calibration={"images": "nowhere"})
    assert report["error"]["code"] == "calibration-samples-unusable"
