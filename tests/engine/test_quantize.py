"""Q/DQ nodes put into a graph: where, with which scales, and what the graph answers afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from prepare_models_entrypoint.onnx_graph import affine, graph, quantize
from tests.engine.graphs import FLOAT, answers, loop_free, quantized, weight


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
    done = quantize.insert(model, scales, names=set(graph.tensor_names(model)))
    onnx.checker.check_model(model, full_check=True)
    assert (done.layers, done.skipped) == (2, {})
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
    assert done.skipped == {"second": ["hidden"]}
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
    quantize.insert(model, scales, names=set(graph.tensor_names(model)))
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
    quantize.insert(model, {"input": 0.02, "a": 0.05, "b": 0.2, "output": 0.2}, names=set(graph.tensor_names(model)))
    scale = next(t for t in model.graph.initializer if t.name == "a_scale")
    assert float(numpy_helper.to_array(scale)) == pytest.approx(0.05)


@pytest.mark.parametrize(("operator", "kernel"), [("Conv", (6, 4, 3, 3)), ("ConvTranspose", (4, 6, 3, 3))])
def test_what_is_the_same_for_a_channel_is_folded_into_the_weights_before_they_are_quantized(
    operator: str, kernel: tuple[int, ...]
) -> None:
    nodes = [
        helper.make_node(operator, ["input", "w", "c"], ["hidden"], name="conv"),
        helper.make_node("BatchNormalization", ["hidden", "g", "o", "m", "v"], ["normal"], name="norm", epsilon=1e-3),
        helper.make_node("Mul", ["factor", "normal"], ["larger"], name="scale"),
        helper.make_node("Div", ["larger", "each"], ["fitting"], name="quotient"),
        helper.make_node("Add", ["fitting", "each"], ["moved"], name="bias"),
        helper.make_node("Sub", ["moved", "factor"], ["output"], name="back"),
    ]
    random = np.random.default_rng(3)
    vectors = {name: random.uniform(0.5, 2, 6).astype(np.float32) for name in "cgomv"}
    vectors |= {"factor": np.array([1.7], np.float32), "each": random.uniform(-2, -0.5, (6, 1, 1)).astype(np.float32)}
    model = loop_free(nodes, {"w": weight(*kernel), **vectors})
    feed = random.uniform(-1, 1, (1, 4, 8, 8)).astype(np.float32)
    expected = answers(model, feed)[0]
    assert affine.fold(model) == 5
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
    assert affine.fold(model) == 0


@pytest.mark.parametrize(
    ("operator", "inputs", "constant"),
    [
        ("Add", ("hidden", "k"), np.ones((6, 8), np.float32)),  # by place
        ("Add", ("hidden", "k"), np.ones((2, 6, 1, 1), np.float32)),  # makes two of one
        ("Sub", ("k", "hidden"), np.ones((1, 6, 1, 1), np.float32)),
        ("Mul", ("hidden", "k"), np.full((1, 6, 1, 1), 1e4, np.float32)),  # weights that fp16 ends before
        ("Mul", ("hidden", "k"), np.zeros((1, 6, 1, 1), np.float32)),
    ],
)
def test_what_differs_within_a_channel_or_would_spoil_the_weights_stays(
    operator: str, inputs: tuple[str, str], constant: Any
) -> None:
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["hidden"], name="conv"),
        helper.make_node(operator, [*inputs], ["output"], name="step"),
    ]
    model = loop_free(nodes, {"w": weight(6, 4, 3, 1), "k": constant})
    assert affine.fold(model) == 0
    assert len(model.graph.node) == 2


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
