"""Convolutions that overflow float16, and the factor behind them that brings the values back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from prepare_models_entrypoint.onnx_graph import factors
from tests import networks
from tests.command import Workplace

CHANNELS = 8
SHAPE = (1, CHANNELS, 16, 16)


def network(path: Path, kind: str, factor: Any) -> Path:
    """Two convolutions with one between them, planted, whose results are 1e6 times as large: ``x`` -> ``y``."""
    random = np.random.default_rng(0)
    deviation = 1 / np.sqrt(9 * CHANNELS)
    weights = {f"w{i}": random.standard_normal((CHANNELS, CHANNELS, 3, 3)) * deviation for i in range(3)}
    groups = 2 if kind == "group" else 1
    weights["w1"] = weights["w1"][:, : CHANNELS // groups] * 1e6
    operator = "ConvTranspose" if kind == "transpose" else "Conv"
    if kind == "transpose":
        groups, weights["w1"] = 2, weights["w1"][:, : CHANNELS // 2]
    scaled = ["factor", "large"] if kind == "first" else ["large", "factor"]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="before", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node(operator, ["b", "w1"], ["large"], name="planted", group=groups, pads=[1, 1, 1, 1]),
        helper.make_node("Mul", scaled, ["c"], name="planted_back"),
        helper.make_node("Conv", ["c", "w2"], ["y"], name="after", pads=[1, 1, 1, 1]),
    ]
    value = (TensorProto.FLOAT, SHAPE)
    constants = {name: np.asarray(array, np.float32) for name, array in {**weights, "factor": factor}.items()}
    return networks.save(path, nodes, [("x", *value)], [("y", *value)], constants)


@pytest.mark.parametrize(
    ("kind", "factor"), [("plain", 1e-6), ("first", [1e-6]), ("group", [[[[1e-6]]]]), ("transpose", 1e-6)]
)
def test_what_overflows_is_named_kept_and_built(place: Workplace, kind: str, factor: Any) -> None:
    network(place.folder / "net.onnx", kind, factor)
    report = place.build(source="net.onnx", precision="fp16", verify={})
    assert report["status"] == "built", report["error"]
    assert report["verification"]["verdict"] == "passed"
    assert {layer["name"] for layer in report["precision_proof"]["kept"]} == {"planted", "planted_back"}


@pytest.mark.parametrize("kind", ["plain", "first", "group", "transpose"])
def test_results_stay_the_same_to_the_bit(tmp_path: Path, kind: str) -> None:
    model = onnx.load(str(network(tmp_path / "net.onnx", kind, 1e-6)))
    before = model.SerializeToString()
    factors.spread(model)
    onnx.checker.check_model(model, full_check=True)
    feed = {"x": np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    first, second = (
        onnxruntime.InferenceSession(data, options).run(None, feed)[0] for data in (before, model.SerializeToString())
    )
    assert before != model.SerializeToString()
    np.testing.assert_array_equal(first, second)
