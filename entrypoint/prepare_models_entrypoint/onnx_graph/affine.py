"""What multiplies and adds by channel, folded into the convolution before it as builders do: no rounding in between.

Batch normalization that can't be folded is brought to parameters of a harmless size.
"""

from __future__ import annotations

from typing import Mapping, Optional, Tuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import types, walk, weights
from .layers import channel_axis
from .names import Names
from .prepare import drop_unread
from .types import Scope
from .walk import attributes
from .weights import Array

_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_STEPS = ("Add", "Sub", "Mul", "Div")
_MOST = 64.0  # what a step may multiply by, or its inverse: folded weights should fit where the plain ones do


def fold(model: ModelProto) -> int:
    """Fold what can be folded, in place, and return how many nodes went away.

    Besides batch normalization these are sums, differences, products and quotients with a constant. A normalization
    that can't be folded gets a mean of 0 and a variance of 1: gain and offset take their place, as variances are often
    beyond fp16. Left alone: one that learns, and one whose parameters are computed.

    Args:
        model: as ``prepare`` returns it.
    """
    folder = _Folder(Names(model), walk.readers(model))
    for scope in types.of(model).all():
        folder.graph(scope)
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
            made = self._convolved(node, scope, producers)
            before = producers[made] if made else None
            step = _step(node, made, before, scope) if before is not None else None
            if before is not None and step is not None:
                self._merge(graph, before, node.output[0], step, scope)
                producers[node.output[0]] = before
                folded.append(node)
            elif _is_normalization(node, scope):
                self._normalize(graph, node, scope)
        for node in folded:
            graph.node.remove(node)
        self.count += len(folded)

    def _convolved(self, node: NodeProto, scope: Scope, producers: Mapping[str, NodeProto]) -> str:
        """Return which input of a node a convolution makes for it alone, '' where there is none."""
        made = (name for name in node.input[:2] if name in producers and self.readers[name] == 1)
        return next((name for name in made if _takes(producers[name], scope)), "")

    def _merge(self, graph: GraphProto, conv: NodeProto, output: str, step: Tuple[Array, Array], scope: Scope) -> None:
        """Point the convolution to new weights and bias, and let it write what the step behind it wrote."""
        factor, offset = step
        kernel = _values(scope, conv.input[1])
        shape = [-1 if axis == channel_axis(conv, 1, kernel.ndim) else 1 for axis in range(kernel.ndim)]
        bias = _values(scope, conv.input[2]).reshape(-1).astype(np.float64) if _has_bias(conv) else 0.0
        wanted = {"bias": (bias * factor + offset).astype(np.float32)}
        if (factor != 1).any():
            wanted["weight"] = kernel * factor.reshape(shape).astype(np.float32)
        del conv.input[2:]
        conv.input.append("")
        for position, name in ((1, "weight"), (2, "bias")):
            if name in wanted:
                conv.input[position] = self._initializer(graph, wanted[name], f"{output}_{name}", scope)
        conv.output[0] = output

    def _normalize(self, graph: GraphProto, norm: NodeProto, scope: Scope) -> None:
        factor, offset = _of_normalization(norm, scope)
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

    def _initializer(self, graph: GraphProto, values: Array, wish: str, scope: Scope) -> str:
        made, name = graph.initializer.add(), self.names.fresh(wish)
        weights.fill(made, values, name)
        scope.constants[name], scope.kinds[name] = made, made.data_type
        return name


def _is_normalization(node: NodeProto, scope: Scope) -> bool:
    if node.op_type != "BatchNormalization" or len([name for name in node.output if name]) != 1:
        return False
    return not attributes(node).get("training_mode") and all(_is_float(scope, name) for name in node.input[1:])


def _takes(conv: NodeProto, scope: Scope) -> bool:
    """Return whether a layer takes a normalization: a convolution or Gemm with stored weights.

    Those of a grouped transposed convolution have no axis of output channels, and a Gemm may add another bias to each
    row.
    """
    if conv.op_type not in _LAYERS or not all(_is_float(scope, name) for name in conv.input[1:] if name):
        return False
    if conv.op_type == "Gemm":
        tensor = scope.constant(conv.input[2]) if _has_bias(conv) else None
        bias, given = list(tensor.dims) if tensor is not None else [], attributes(conv)
        return given.get("alpha", 1) == given.get("beta", 1) == 1 and not (bias[:-1] and bias[0] != 1)
    return channel_axis(conv, 1, 0) is not None


def _has_bias(conv: NodeProto) -> bool:
    return len(conv.input) > 2 and bool(conv.input[2])


def _is_float(scope: Scope, name: str) -> bool:
    tensor = scope.constant(name)
    return tensor is not None and tensor.data_type == TensorProto.FLOAT


def _values(scope: Scope, name: str) -> Array:
    return weights.array(scope.constant(name) or TensorProto())


def _step(node: NodeProto, made: str, conv: NodeProto, scope: Scope) -> Optional[Tuple[Array, Array]]:
    """Return what a node multiplies each channel of a convolution's output ``made`` by, and adds; None for others."""
    if _is_normalization(node, scope) and node.input[0] == made:
        return _of_normalization(node, scope)
    operator = node.op_type
    if operator not in _STEPS or node.domain or (operator in ("Sub", "Div") and node.input[0] != made):
        return None
    other = node.input[1] if node.input[0] == made else node.input[0]
    values = _by_channel(_values(scope, other), conv, scope) if _is_float(scope, other) else None
    if values is None or not np.isfinite(values).all():
        return None
    if operator in ("Add", "Sub"):
        return np.ones_like(values), values if operator == "Add" else -values
    with np.errstate(divide="ignore"):
        factor = values if operator == "Mul" else 1 / values
    sizes = np.abs(factor)
    return (factor, np.zeros_like(factor)) if sizes.min() >= 1 / _MOST and sizes.max() <= _MOST else None


def _by_channel(values: Array, conv: NodeProto, scope: Scope) -> Optional[Array]:
    """Return a value for each channel, as float64; None where a constant has others along other axes."""
    kernel = _values(scope, conv.input[1])
    channels = kernel.shape[channel_axis(conv, 1, kernel.ndim) or 0]
    if values.ndim > kernel.ndim or values.size not in (1, channels):
        return None
    along = (*(1 for _ in range(kernel.ndim - values.ndim)), *values.shape)[1]
    flat = values.reshape(-1).astype(np.float64)
    return np.broadcast_to(flat, (channels,)) if values.size == along else None


def _of_normalization(norm: NodeProto, scope: Scope) -> Tuple[Array, Array]:
    """Return what a normalization multiplies by and adds, as float64."""
    gain, offset, mean, variance = (_values(scope, name).astype(np.float64) for name in norm.input[1:5])
    factor = gain / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))
    return factor, offset - mean * factor
