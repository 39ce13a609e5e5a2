"""Batch normalization folded into the convolution before it, or rewritten with parameters of a harmless size."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Mapping, Tuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import types, weights
from .names import Names
from .prepare import drop_unread
from .types import Scope
from .walk import graphs

_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold(model: ModelProto) -> int:
    """Fold what can be folded, in place, and return how many layers were removed.

    A normalization that can't be folded gets a mean of 0 and a variance of 1, with gain and offset adjusted instead, as
    variances are often beyond fp16. One in training mode, or with computed parameters, is left alone.

    Args:
        model: as ``prepare`` returns it.
    """
    readers = Counter(name for graph in graphs(model.graph) for node in graph.node for name in node.input)
    readers.update(value.name for graph in graphs(model.graph) for value in graph.output)
    folder = _Folder(Names(model), readers)
    folder.graph(types.of(model))
    drop_unread(model)
    return folder.count


class _Folder:
    def __init__(self, names: Names, readers: Mapping[str, int]) -> None:
        self.names, self.readers, self.count = names, readers, 0

    def graph(self, scope: Scope) -> None:
        graph = scope.graph
        producers = {name: node for node in graph.node for name in node.output}
        folded = []
        for node in graph.node:
            for inner in scope.inner.get(node.name, ()):
                self.graph(inner)
            if not _is_foldable(node, scope):
                continue
            before = producers.get(node.input[0])
            if before is not None and self.readers[node.input[0]] == 1 and _takes(before, scope):
                self._merge(graph, before, node, scope)
                producers[node.output[0]] = before
                folded.append(node)
            else:
                self._normalize(graph, node, scope)
        for node in folded:
            graph.node.remove(node)
        self.count += len(folded)

    def _merge(self, graph: GraphProto, conv: NodeProto, norm: NodeProto, scope: Scope) -> None:
        """Give the convolution new weights and bias, and the normalization's output."""
        factor, offset = _affine(norm, scope)
        kernel = _values(scope, conv.input[1])
        shape = [-1 if axis == _CHANNEL_AXIS[conv.op_type] else 1 for axis in range(kernel.ndim)]
        bias = _values(scope, conv.input[2]).astype(np.float64) if len(conv.input) > 2 and conv.input[2] else 0.0
        wanted = {
            "weight": kernel * factor.reshape(shape).astype(np.float32),
            "bias": (bias * factor + offset).astype(np.float32),
        }
        del conv.input[1:]
        for name, values in wanted.items():
            conv.input.append(self._initializer(graph, values, f"{norm.output[0]}_{name}", scope))
        conv.output[0] = norm.output[0]

    def _normalize(self, graph: GraphProto, norm: NodeProto, scope: Scope) -> None:
        factor, offset = _affine(norm, scope)
        wanted = {
            "gain": factor, "offset": offset, "mean": np.zeros_like(factor), "variance": np.ones_like(factor),
        }  # fmt: skip
        for position, (name, values) in enumerate(wanted.items(), 1):
            norm.input[position] = self._initializer(
                graph, values.astype(np.float32), f"{norm.output[0]}_{name}", scope
            )
        kept = [attribute for attribute in norm.attribute if attribute.name != "epsilon"]
        del norm.attribute[:]
        norm.attribute.extend([*kept, helper.make_attribute("epsilon", 0.0)])

    def _initializer(self, graph: GraphProto, values: weights.Array, wish: str, scope: Scope) -> str:
        made, name = graph.initializer.add(), self.names.fresh(wish)
        weights.fill(made, values, name)
        scope.constants[name], scope.kinds[name] = made, made.data_type
        return name


def _is_foldable(node: NodeProto, scope: Scope) -> bool:
    if node.op_type != "BatchNormalization" or len([name for name in node.output if name]) != 1:
        return False
    learns = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
    return not learns and all(_is_float(scope, name) for name in node.input[1:])


def _takes(conv: NodeProto, scope: Scope) -> bool:
    """Return whether a layer can absorb a normalization: a convolution with stored weights.

    A grouped transposed one can't: its weights have no axis of output channels.
    """
    if conv.op_type not in _CHANNEL_AXIS or (conv.op_type == "ConvTranspose" and _attribute(conv, "group", 1) != 1):
        return False
    return all(_is_float(scope, name) for name in conv.input[1:] if name)


def _is_float(scope: Scope, name: str) -> bool:
    tensor = scope.constant(name)
    return tensor is not None and tensor.data_type == TensorProto.FLOAT


def _values(scope: Scope, name: str) -> weights.Array:
    return weights.array(scope.constant(name) or TensorProto())


def _affine(norm: NodeProto, scope: Scope) -> Tuple[weights.Array, weights.Array]:
    """Return what a normalization multiplies by and adds, as float64."""
    gain, offset, mean, variance = (_values(scope, name).astype(np.float64) for name in norm.input[1:5])
    factor = gain / np.sqrt(variance + _attribute(norm, "epsilon", 1e-5))
    return factor, offset - mean * factor


def _attribute(node: NodeProto, name: str, default: float) -> float:
    found: Dict[str, float] = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return float(found.get(name, default))
