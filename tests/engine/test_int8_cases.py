"""int8 of models that quantization tools stumble over: symmetric Q/DQ only, weights behind moves, old opsets."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from prepare_models_entrypoint.errors import ConvertError
from prepare_models_entrypoint.onnx_graph import prepare, symmetric, weight_chains
from tests.command import Workplace
from tests.engine.graphs import answers, loop_free, quantized, weight


@pytest.mark.parametrize(("point", "why"), [(np.uint8(114), "114"), (np.uint8(0), "uint8"), (np.int8(3), "zero")])
def test_quantization_that_is_not_symmetric_is_refused_and_named(point: np.generic, why: str) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["output"], name="dequantize"),
    ]
    model = loop_free(nodes, {"s": np.float32(0.01), "z": np.asarray(point)})
    with pytest.raises(ConvertError) as caught:
        symmetric.check(prepare.prepare(model))
    assert caught.value.code == "quantization-asymmetric"
    assert why in caught.value.message
    assert "dequantize" in caught.value.message


def test_a_zero_point_that_is_computed_counts_and_so_do_weights_alone(place: Workplace) -> None:
    """TensorRT's parser drops the former; the latter have no QuantizeLinear."""
    weights = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], name="dequantize", axis=0)]
    sum_of = [helper.make_node("Add", ["a", "a"], ["z"])]
    stored = {"q": np.zeros((5, 4, 3, 3), np.int8), "s": np.full(5, 0.01, np.float32), "a": np.full(5, 2, np.int8)}
    conv = helper.make_node("Conv", ["input", "w"], ["output"], name="conv")
    onnx.save(loop_free([*sum_of, *weights, conv], stored), str(place.folder / "model.onnx"))
    error = place.check(source="model.onnx", precision="int8")["error"]
    assert error["code"] == "quantization-asymmetric"
    assert "dequantize (zero point 4)" in error["message"]


@pytest.mark.parametrize(("point", "refused"), [(0, False), (1, True)])
@pytest.mark.parametrize("places", [("", "zi = Cast <to = 3> (z)"), ("zi = Cast <to = 3> (z)", "")])
def test_a_zero_point_of_a_branch_may_be_computed_in_it_or_outside(
    point: int, refused: bool, places: tuple[str, str]
) -> None:
    outside, inside = places
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x, bool c) => (float[4] y) <float s = {{0.5}}, int32 z = {{{point}}}>
        {{ {outside} y = If (c) <
            then_branch = a () => (float[4] p)
            {{ {inside} q = QuantizeLinear(x, s, zi) p = DequantizeLinear(q, s, zi) }},
            else_branch = b () => (float[4] r) {{ r = Identity(x) }}> }}"""
    )
    with pytest.raises(ConvertError, match="zero point 1") if refused else contextlib.nullcontext():
        symmetric.check(prepare.prepare(model))


def test_weights_computed_from_constants_become_int8() -> None:
    nodes = [
        helper.make_node("Identity", ["w"], ["same"], name="identity"),
        helper.make_node("Transpose", ["same"], ["turned"], name="transpose", perm=[1, 0, 2, 3]),
        helper.make_node("Mul", ["turned", "gain"], ["larger"], name="mul"),
        helper.make_node("Conv", ["input", "larger"], ["output"], name="conv"),
    ]
    model = prepare.prepare(loop_free(nodes, {"w": weight(4, 6, 3, 3), "gain": weight(6, 1, 1, 1)}))
    feed = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    expected = answers(model, feed)[0]
    assert weight_chains.fold(model) == 1
    assert quantized(model, "input").layers == 1
    assert not {"Transpose", "Mul"} & {node.op_type for node in model.graph.node}
    assert np.abs(answers(model, feed)[0] - expected).max() < 0.2 * np.abs(expected).max()


def test_an_old_opset_needs_no_lifting() -> None:
    model = loop_free([helper.make_node("Conv", ["input", "w"], ["output"], name="conv")], {"w": weight(5, 4, 3, 3)})
    model.opset_import[0].version = 7
    feed = np.random.default_rng(0).uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    expected = answers(model, feed)[0]
    assert quantized(model, "input").layers == 1
    onnx.checker.check_model(model)
    assert np.abs(answers(model, feed)[0] - expected).max() < 0.2 * np.abs(expected).max()


def test_names_that_are_added_collide_with_nothing() -> None:
    model = loop_free(
        [helper.make_node("Conv", ["input", "input_scale"], ["output"], name="conv")],
        {"input_scale": weight(5, 4, 3, 3)},
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "input_zero"))
    assert quantized(model, "input").layers == 1
    onnx.checker.check_model(model, full_check=True)
