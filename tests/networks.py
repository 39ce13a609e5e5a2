"""Small networks for tests, each with the property that a test needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dim = int | str


def save(path: Path, nodes: Sequence[onnx.NodeProto], inputs: Any, outputs: Any, weights: Any = ()) -> Path:
    """Write a model of opset 17 and return its path. ``inputs`` and ``outputs``: (name, element type, shape) each."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        initializer=[numpy_helper.from_array(array, name) for name, array in dict(weights).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def conv(path: Path, shape: Sequence[Dim] = (1, 3, 32, 32), *, channels: int = 4, seed: int = 0) -> Path:
    """One convolution and a ReLU: ``input`` -> ``output``. A dimension given as text is dynamic."""
    weights = np.random.default_rng(seed).standard_normal((channels, 3, 3, 3), dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["hidden"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["hidden"], ["output"], name="relu"),
    ]
    out = [shape[0], channels, *shape[2:]]
    return save(
        path, nodes, [("input", TensorProto.FLOAT, shape)], [("output", TensorProto.FLOAT, out)], {"weight": weights}
    )


def named(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Path:
    """Sums of the inputs under the given binding names."""
    shape = (1, 8)
    nodes = [helper.make_node("Sum", list(inputs), [name], name=f"sum_{index}") for index, name in enumerate(outputs)]
    values = [(name, TensorProto.FLOAT, shape) for name in inputs]
    return save(path, nodes, values, [(name, TensorProto.FLOAT, shape) for name in outputs])


def unsupported(path: Path) -> Path:
    """An operator that no TensorRT knows, at a node called ``mystery_node``."""
    nodes = [helper.make_node("DoesNotExist", ["input"], ["output"], name="mystery_node", domain="com.example")]
    value = (TensorProto.FLOAT, (1, 8))
    return save(path, nodes, [("input", *value)], [("output", *value)])


def heavy(path: Path, *, layers: int = 60) -> Path:
    """A chain of matrix products that takes about a second to build."""
    random = np.random.default_rng(0)
    weights = {f"w{i}": random.standard_normal((512, 512), dtype=np.float32) for i in range(layers)}
    names = ["input", *(f"h{i}" for i in range(layers - 1)), "output"]
    nodes: list[onnx.NodeProto] = []
    for index in range(layers):
        nodes.append(helper.make_node("MatMul", [names[index], f"w{index}"], [f"m{index}"], name=f"matmul_{index}"))
        nodes.append(helper.make_node("Tanh", [f"m{index}"], [names[index + 1]], name=f"tanh_{index}"))
    value = (TensorProto.FLOAT, (1, 512))
    return save(path, nodes, [("input", *value)], [("output", *value)], weights)
