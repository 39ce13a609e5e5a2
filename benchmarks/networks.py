"""Generated networks for the benchmarks: random weights from a fixed seed, with the same bytes in every run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Graph:
    """Collects nodes and weights of a network under construction."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(seed)

    def weight(self, *shape: int) -> str:
        """Add a float32 tensor of small random values and return its name."""
        scale = 1.0 / np.sqrt(np.prod(shape[1:]) or 1)
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        return self.constant(values)

    def constant(self, values: Any) -> str:
        """Add a tensor and return its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def save(self, path: Path, shape: list[int], output: str) -> None:
        """Write the network with the input ``input`` of ``shape`` and its one output renamed to ``output``."""
        self.nodes[-1].output[0] = output
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            initializer=self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        path.write_bytes(model.SerializeToString())


def _conv(graph: Graph, x: str, channels: int, outputs: int, kernel: int, *, stride: int = 1) -> str:
    weight, bias = graph.weight(outputs, channels, kernel, kernel), graph.weight(outputs)
    pads = [kernel // 2] * 4
    return graph.node("Conv", x, weight, bias, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=pads)


def small(path: Path) -> None:
    """Write a convolutional segmentation network of about 2 MB, 1x3x544x960."""
    graph = Graph(seed=1)
    x, channels = "input", 3
    for width in (16, 32, 64, 128):
        x = graph.node("Relu", _conv(graph, x, channels, width, 3, stride=2))
        for _ in range(4):
            y = graph.node("Relu", _conv(graph, x, width, width, 3))
            x = graph.node("Add", x, y) if width < 128 else y
        channels = width
    x = _conv(graph, x, channels, 2, 1)
    graph.node("Softmax", x, axis=1)
    graph.save(path, [1, 3, 544, 960], "scores")


def cnn(path: Path) -> None:
    """Write a residual convolutional network of about 100 MB, 1x3x224x224."""
    graph = Graph(seed=2)
    x, channels = graph.node("Relu", _conv(graph, "input", 3, 64, 7, stride=2)), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 4)):
        for block in range(blocks):
            y = graph.node("Relu", _conv(graph, x, channels, width, 3, stride=2 if block == 0 else 1))
            y = _conv(graph, y, width, width, 3)
            shortcut = x if block else _conv(graph, x, channels, width, 1, stride=2)
            x, channels = graph.node("Relu", graph.node("Add", y, shortcut)), width
    x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
    graph.node("Gemm", x, graph.weight(1000, channels), graph.weight(1000), transB=1)
    graph.save(path, [1, 3, 224, 224], "scores")


def _linear(graph: Graph, x: str, inputs: int, outputs: int) -> str:
    return graph.node("Add", graph.node("MatMul", x, graph.weight(inputs, outputs)), graph.weight(outputs))


def _norm(graph: Graph, x: str, width: int) -> str:
    ones, zeros = graph.constant(np.ones(width, np.float32)), graph.constant(np.zeros(width, np.float32))
    return graph.node("LayerNormalization", x, ones, zeros, axis=-1)


def _attention(graph: Graph, x: str, tokens: int, width: int, heads: int) -> str:
    split = graph.constant(np.array([1, tokens, heads, width // heads], np.int64))
    merge = graph.constant(np.array([1, tokens, width], np.int64))
    query, key, value = (graph.node("Reshape", _linear(graph, x, width, width), split) for _ in range(3))
    query = graph.node("Transpose", query, perm=[0, 2, 1, 3])
    key = graph.node("Transpose", key, perm=[0, 2, 3, 1])
    value = graph.node("Transpose", value, perm=[0, 2, 1, 3])
    scale = graph.constant(np.float32((width // heads) ** -0.5))
    scores = graph.node("Softmax", graph.node("Mul", graph.node("MatMul", query, key), scale), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", scores, value), perm=[0, 2, 1, 3])
    return _linear(graph, graph.node("Reshape", mixed, merge), width, width)


def _gelu(graph: Graph, x: str) -> str:
    half, one = graph.constant(np.float32(0.5)), graph.constant(np.float32(1.0))
    inverse_root = graph.constant(np.float32(0.5**0.5))
    bell = graph.node("Add", graph.node("Erf", graph.node("Mul", x, inverse_root)), one)
    return graph.node("Mul", graph.node("Mul", x, half), bell)


def vit(path: Path) -> None:
    """Write a vision transformer (width 768, 12 blocks) of about 350 MB, 1x3x224x224."""
    graph, width, tokens = Graph(seed=3), 768, 196
    patches = graph.node(
        "Conv", "input", graph.weight(width, 3, 16, 16), graph.weight(width), kernel_shape=[16, 16], strides=[16, 16]
    )
    flat = graph.node("Reshape", patches, graph.constant(np.array([1, width, tokens], np.int64)))
    x = graph.node("Transpose", flat, perm=[0, 2, 1])
    for _ in range(12):
        x = graph.node("Add", x, _attention(graph, _norm(graph, x, width), tokens, width, heads=12))
        hidden = _gelu(graph, _linear(graph, _norm(graph, x, width), width, 4 * width))
        x = graph.node("Add", x, _linear(graph, hidden, 4 * width, width))
    x = graph.node("ReduceMean", _norm(graph, x, width), axes=[1], keepdims=0)
    graph.node("Gemm", x, graph.weight(1000, width), graph.weight(1000), transB=1)
    graph.save(path, [1, 3, 224, 224], "scores")


def deep(path: Path, *, seed: int, blocks: int = 40) -> None:
    """Write a thin transformer whose small weights (width 32) take seconds of one processor to compile, 1x32x32."""
    graph, width, x = Graph(seed), 32, "input"
    for _ in range(blocks):
        x = graph.node("Add", x, _attention(graph, _norm(graph, x, width), width, width, heads=2))
        x = graph.node("Add", x, _linear(graph, _gelu(graph, _norm(graph, x, width)), width, width))
    graph.save(path, [1, width, width], "output")


NETWORKS: dict[str, Callable[[Path], None]] = {"small": small, "cnn": cnn, "vit": vit}
