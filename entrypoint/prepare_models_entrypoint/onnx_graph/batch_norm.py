"""Batch normalization folded into the convolution before it: TensorRT quantizes the two as one layer."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterator, Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import graph as graphs_

_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold(model: ModelProto) -> int:
    """Fold what can be folded, in place, and return how many layers went away.

    Left alone: a normalization that learns, one whose convolution has other readers, weights that are computed, and
    grouped transposed convolutions, whose weights have no axis of output channels.
    """
    readers = Counter(name for node in graphs_.nodes(model) for name in node.input)
    readers.update(value.name for graph in graphs_.graphs(model.graph) for value in graph.output)
    return sum(_fold(graph, readers) for graph in graphs_.graphs(model.graph))


def _fold(graph: GraphProto, readers: Mapping[str, int]) -> int:
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    producers = {name: node for node in graph.node for name in node.output}
    folded = []
    for norm in graph.node:
        if norm.op_type != "BatchNormalization" or len([name for name in norm.output if name]) != 1:
            continue
        conv = producers.get(norm.input[0])
        if conv is not None and readers[norm.input[0]] == 1 and _fits(conv, norm, weights):
            graph.initializer.extend(_merge(conv, norm, weights))
            conv.output[0] = norm.output[0]
            producers[norm.output[0]] = conv
            folded.append(norm)
    for norm in folded:
        graph.node.remove(norm)
    return len(folded)


def _fits(conv: NodeProto, norm: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    if conv.op_type not in _CHANNEL_AXIS or (conv.op_type == "ConvTranspose" and _attribute(conv, "group", 1) != 1):
        return False
    return all(name in weights for name in (*conv.input[1:], *norm.input[1:]) if name)


def _merge(conv: NodeProto, norm: NodeProto, weights: Mapping[str, TensorProto]) -> Iterator[TensorProto]:
    """Point the convolution to new weights and bias, and yield them."""
    kernel, *bias = (numpy_helper.to_array(weights[name]).astype(np.float64) for name in conv.input[1:] if name)
    gain, offset, mean, variance = (numpy_helper.to_array(weights[name]).astype(np.float64) for name in norm.input[1:])
    factor = gain / np.sqrt(variance + _attribute(norm, "epsilon", 1e-5))
    shape = [-1 if axis == _CHANNEL_AXIS[conv.op_type] else 1 for axis in range(kernel.ndim)]
    arrays: Dict[str, Any] = {
        f"{norm.output[0]}_weight": kernel * factor.reshape(shape),
        f"{norm.output[0]}_bias": ((bias[0] if bias else 0.0) - mean) * factor + offset,
    }
    del conv.input[1:]
    for name, array in arrays.items():
        conv.input.append(name)
        yield numpy_helper.from_array(array.astype(np.float32), name)


def _attribute(node: NodeProto, name: str, default: float) -> float:
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return float(found.get(name, default))
