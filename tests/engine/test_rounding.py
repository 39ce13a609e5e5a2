"""Typed graphs on the CPU round as numpy does, in every operator, and thresholds see what rounding does not excuse."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prepare_models_entrypoint.contract.verification import DEFAULTS, multiplies_in_tf32
from prepare_models_entrypoint.onnx_graph import rounding, types
from prepare_models_entrypoint.onnx_graph.segments import Segments, session
from prepare_models_entrypoint.verify import runners
from prepare_models_entrypoint.verify.metrics import OutputMetrics

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
NOT_ALIKE = ("bernoulli", "dynamicquantizelinear", "loop", "scan", "sequence", "optional", "if_")  # carry, or draw


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a node test of one float node as one of float16."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (node,) = copy.graph.node
    for value in copy.graph.input:
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = HALF
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype", "output_datatype") and attribute.i == FLOAT:
            attribute.i = HALF
        if attribute.name == "value" and attribute.t.data_type == FLOAT:
            values = onnx.numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(onnx.numpy_helper.from_array(values))
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("elem_type")
    scope = types.of(copy)
    for value in copy.graph.output:
        value.type.tensor_type.elem_type = scope.get(value.name)
    return copy


def outcome(case: Any) -> str:
    model = case.model
    kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    if len(model.graph.node) != 1 or FLOAT not in kinds or any(word in case.name for word in NOT_ALIKE):
        return "left out"
    if model.graph.node[0].domain == "ai.onnx.ml":
        return "has no float16"
    errors: tuple[type[Exception], ...] = (*runners.runtime_errors(), AttributeError)
    try:
        source = session(model)
        feeds = [dict(zip((v.name for v in model.graph.input), values, strict=True)) for values, _ in case.data_sets]
        halves = [{n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in feed.items()} for feed in feeds]
        exact = [{n: v.astype(np.float32) if v.dtype == np.float16 else v for n, v in feed.items()} for feed in halves]
        right = [source.run(None, feed) for feed in exact]
    except errors:
        return "onnxruntime lacks it"
    twin = Segments(rounding.rounded(halved(model)).model)
    for feed, expected in zip(halves, right, strict=True):
        found = twin.run(feed)
        for value, name in zip(expected, twin.outputs, strict=True):
            with np.errstate(all="ignore"):
                wanted = value.astype(found[name].dtype) if value.dtype == np.float32 else value
            if not np.array_equal(wanted, found[name], equal_nan=wanted.dtype.kind == "f"):
                return "differs"
    return "equal"


def test_every_float_node_test_of_onnx_rounds_as_numpy_does() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = pytest.importorskip("onnx.backend.test.case.node").collect_testcases()
    found = {case.name: outcome(case) for case in cases if case.kind == "node" and case.model is not None}
    assert [name for name, result in found.items() if result == "differs"] == []
    assert Counter(found.values())["equal"] >= 700


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_tensors_round_and_overflow_as_the_type_does_wherever_they_are(kind: int) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["narrow"], to=kind),
        helper.make_node("Mul", ["narrow", "narrow"], ["square"]),
        helper.make_node("Sqrt", ["square"], ["root"]),
        helper.make_node("Cast", ["root"], ["y"], to=FLOAT),
    ]
    values = [helper.make_tensor_value_info(name, FLOAT, (3,)) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    twin = Segments(rounding.rounded(model).model)
    feed = {"x": np.array([300, 1.001, 4097], np.float32)}
    whole, in_parts = twin.run(feed)["y"], twin.run(feed, step=1)["y"]
    assert np.array_equal(whole, in_parts)
    if kind == HALF:
        assert whole.tolist() == [np.inf, float(np.float16(1.001)), np.inf]
    else:
        assert whole.tolist() == [300.0, 1.0, 4096.0]


@pytest.mark.parametrize("precision", list(DEFAULTS))
@pytest.mark.parametrize("factor", [0.5, 2.0, 100.0])
def test_default_thresholds_see_a_wrong_scale(precision: str, factor: float) -> None:
    values = np.random.default_rng(0).standard_normal((1, 8, 10)).astype(np.float32)
    metrics = OutputMetrics("y", axis=1)
    metrics.add(values, values * np.float32(factor))
    problems = metrics.result(DEFAULTS[precision], named=False, asked=False)["problems"]
    assert [problem.split()[0] for problem in problems] == ["max_of_range"]


@pytest.mark.parametrize(
    ("precision", "setting", "capability", "expected"),
    [
        ("fp32", None, "8.7", True),
        ("fp32", True, "12.0", True),
        ("fp32", False, "9.0", False),
        ("fp32", None, "7.5", False),
        ("fp16", None, "9.0", False),
    ],
)
def test_fp32_is_tf32_where_the_gpu_has_it_and_nobody_says_otherwise(
    precision: str, setting: bool | None, capability: str, expected: bool
) -> None:
    assert multiplies_in_tf32(precision, setting, capability) is expected


def test_default_thresholds_leave_alone_what_says_nothing() -> None:
    random = np.random.default_rng(0)
    anchors = random.uniform(0, 1, (1, 4, 7600)).astype(np.float32)
    saturated = random.uniform(0, 1e-5, (1, 100)).astype(np.float32)
    for values, error in ((anchors, 1e-3), (saturated, 3e-6)):
        metrics = OutputMetrics("y", axis=1)
        metrics.add(values, values + np.float32(error) * random.standard_normal(values.shape).astype(np.float32))
        assert metrics.result(DEFAULTS["fp16"], named=False, asked=False)["problems"] == []
    labels = OutputMetrics("y", axis=1)
    labels.add(np.arange(100), np.where(np.arange(100) < 95, np.arange(100), 0))
    found = labels.result(DEFAULTS["fp16"], named=False, asked=False)
    assert found["disagreeing"] == 5
    assert found["problems"] == ["argmax 0.950000, at least 0.99 is required: 5 of 100 elements differ"]


@pytest.mark.parametrize("made", [[{0: 0.5}, {0: 0.4}], np.array(["a", "b"], object)])
def test_what_has_no_numbers_is_not_compared(made: Any) -> None:
    metrics = OutputMetrics("labels", axis=1)
    metrics.add(made, made)
    metrics.among(made)
    assert metrics.of_range() == 0.0
