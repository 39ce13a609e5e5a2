"""int8 for backends that take precision from the graph: Q/DQ nodes from the scales of a calibration cache.

Weights become int8 with one scale for each output channel and a DequantizeLinear node; each activation that an int8
layer reads gets one QuantizeLinear / DequantizeLinear pair. A layer without a scale stays as it is and is reported.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import graph as graphs_
from . import weights
from .walk import bodies, graphs

_MATRIX = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
_SMALLEST_HALF = 2.0**-24


@dataclass
class Quantized:
    """What was done. ``wanted``: activations of layers that int8 could serve. ``skipped``: layers without a scale."""

    wanted: Set[str] = field(default_factory=set)
    skipped: List[str] = field(default_factory=list)
    layers: int = 0


def insert(
    model: ModelProto, scales: Mapping[str, float], *, names: Sequence[str], keep_fp32: Sequence[str] = ()
) -> Quantized:
    """Insert Q/DQ nodes into ``model``, in place.

    Args:
        model: fp32 or fp16, of opset 13 or later, without Q/DQ nodes of its own.
        scales: float32 scale of an activation by its name; scales of cast copies are taken from their originals.
        names: tensors of the model before any rewriting; ``wanted`` speaks of these.
        keep_fp32: patterns of node names that stay out of int8.
    """
    known = {name: scale for name, scale in scales.items() if scale > 0}
    origins = _alias_casts(model, known, set(names))
    _join(model, known, survey(model, known, keep_fp32=keep_fp32).wanted)
    done = Quantized()
    _Scope(model.graph, None, known, keep_fp32, done).rewrite()
    done.wanted = {origins.get(name, name) for name in done.wanted}
    _drop_unused(model.graph)
    return done


def survey(model: ModelProto, scales: Mapping[str, float], *, keep_fp32: Sequence[str] = ()) -> Quantized:
    """Return what ``insert`` would do, and leave the model alone. The values of its weights need not be loaded."""
    done = Quantized()
    known = {name: scale for name, scale in scales.items() if scale > 0}
    _Scope(model.graph, None, known, keep_fp32, done).look()
    return done


def _join(model: ModelProto, scales: Dict[str, float], read: Set[str]) -> None:
    """Give inputs and output of a concatenation that an int8 layer reads one scale, the largest.

    With several, the values would be converted on their way through. A cast takes part: its sides hold one tensor.
    """
    group: Dict[str, str] = {}

    def root(name: str) -> str:
        while group.get(name, name) != name:
            name = group[name]
        return name

    for node in graphs_.nodes(model):
        if node.op_type == "Cast" or (node.op_type == "Concat" and node.output[0] in read):
            known = [name for name in (*node.input, *node.output) if name in scales]
            for name in known:
                group[root(name)] = root(known[0])
    largest: Dict[str, float] = {}
    for name in group:
        largest[root(name)] = max(largest.get(root(name), 0.0), scales[name])
    scales.update({name: largest[root(name)] for name in group})


def _alias_casts(model: ModelProto, scales: Dict[str, float], names: Set[str]) -> Dict[str, str]:
    """Give both sides of a cast the scale that one of them has: rewriting to fp16 renames bindings and borders.

    Returns the name in the original model for each tensor that such a cast added.
    """
    origins: Dict[str, str] = {}
    casts = [node for node in graphs_.nodes(model) if node.op_type == "Cast"]
    for node in (*casts, *reversed(casts)):
        for source, target in ((node.input[0], node.output[0]), (node.output[0], node.input[0])):
            if source in scales:
                scales.setdefault(target, scales[source])
            if target not in names and (source in names or source in origins):
                origins.setdefault(target, origins.get(source, source))
    return origins


class _Scope:
    """One graph, and through ``outer`` the graphs around it, whose weights it may read."""

    def __init__(
        self, graph: GraphProto, outer: "Optional[_Scope]", scales: Mapping[str, float], keep: Sequence[str],
        done: Quantized,
    ) -> None:  # fmt: skip
        self.graph, self.outer, self.scales, self.keep, self.done = graph, outer, scales, keep, done
        self.types: graphs_.ElementTypes = graphs_.ElementTypes(graph, outer.types if outer else None)
        self.weights: Dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.weights[node.output[0]] = node.attribute[0].t
        self.activations: Dict[str, str] = {}
        self.dequantized: Dict[Tuple[str, Optional[int]], str] = {}
        self.nodes: List[NodeProto] = []

    def look(self) -> None:
        for node in self.graph.node:
            for body in bodies(node):
                _Scope(body, self, self.scales, self.keep, self.done).look()
            self._served(node)

    def rewrite(self) -> None:
        for node in self.graph.node:
            for body in bodies(node):
                _Scope(body, self, self.scales, self.keep, self.done).rewrite()
            self._quantize(node, *self._served(node))
            self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def _served(self, node: NodeProto) -> Tuple[List[int], List[Tuple[int, Optional[int]]]]:
        """Return the operands of a layer that int8 serves, and note what it wants; nothing for any other node."""
        kept = any(fnmatch.fnmatchcase(node.name, pattern) for pattern in self.keep)
        activations, weights = ([], []) if kept else self._operands(node)
        names = [node.input[position] for position in activations]
        self.done.wanted.update(names)
        if any(name not in self.scales for name in names):
            self.done.skipped.append(f"{node.op_type} {node.name or node.output[0]}")
            return [], []
        self.done.layers += bool(names)
        return (activations, weights) if names else ([], [])

    def _quantize(self, node: NodeProto, activations: List[int], weights: List[Tuple[int, Optional[int]]]) -> None:
        for position in activations:
            node.input[position] = self._activation(node.input[position])
        for position, axis in weights:
            node.input[position] = self._weight(node.input[position], axis)

    def _operands(self, node: NodeProto) -> Tuple[List[int], List[Tuple[int, Optional[int]]]]:
        """Return the positions of a layer's activations, and of its weights with their channel axis."""
        if node.op_type in _POOLS:
            return ([0] if self._is_float(node.input[0]) else []), []
        inputs = range(min(2, len(node.input)))
        constant = [position for position in inputs if self.weight(node.input[position]) is not None]
        if node.op_type == "Add":
            fits = not constant and all(self._is_float(node.input[position]) for position in inputs)
            return (list(inputs) if fits else []), []
        if node.op_type not in _MATRIX or len(constant) == 2 or not all(self._is_float(node.input[p]) for p in inputs):
            return [], []
        if node.op_type in ("Conv", "ConvTranspose") and constant != [1]:
            return [], []  # weights that are computed have no scales of their own
        return [p for p in inputs if p not in constant], [(p, self._channel_axis(node, p)) for p in constant]

    def _channel_axis(self, node: NodeProto, position: int) -> Optional[int]:
        tensor = self.weight(node.input[position])
        rank = len(tensor.dims) if tensor is not None else 0
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Conv":
            return 0
        if node.op_type == "ConvTranspose":
            return 1 if attributes.get("group", 1) == 1 else None  # grouped: no axis of the weights is the channel
        if node.op_type == "Gemm" and position == 1:
            return 0 if attributes.get("transB", 0) else 1
        return 1 if node.op_type == "MatMul" and position == 1 and rank == 2 else None

    def weight(self, name: str) -> Optional[TensorProto]:
        if name in self.weights:
            return self.weights[name]
        return self.outer.weight(name) if self.outer else None

    def _is_float(self, name: str) -> bool:
        kind = self.types.get(name)
        return bool(name) and (kind is None or kind in _FLOATS)

    def _scale(self, values: Any, name: str) -> str:
        half = self.types.get(name) == TensorProto.FLOAT16
        array = np.maximum(values, _SMALLEST_HALF).astype(np.float16) if half else np.asarray(values, np.float32)
        return self._initializer(array, f"{name}_scale")

    def _initializer(self, array: Any, name: str) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def _activation(self, name: str) -> str:
        if name not in self.activations:
            scale = self._scale(np.asarray(self.scales[name], np.float32), name)
            zero = self._initializer(np.zeros((), np.int8), f"{name}_zero")
            pair = (("QuantizeLinear", name, f"{name}_q"), ("DequantizeLinear", f"{name}_q", f"{name}_dq"))
            for operator, source, target in pair:
                self.nodes.append(helper.make_node(operator, [source, scale, zero], [target], name=target))
            self.activations[name] = f"{name}_dq"
        return self.activations[name]

    def _weight(self, name: str, axis: Optional[int]) -> str:
        key = (name, axis)
        if key not in self.dequantized:
            tensor = self.weight(name)
            stem = f"{name}_int8" if axis is None else f"{name}_int8_{axis}"
            quantized, scale = per_channel(weights.array(tensor), axis)  # type: ignore[arg-type]  # found by the caller
            half = tensor is not None and tensor.data_type == TensorProto.FLOAT16
            scales = self._initializer(scale.astype(np.float16 if half else np.float32), f"{stem}_scale")
            zeros = self._initializer(np.zeros(scale.shape, np.int8), f"{stem}_zero")
            inputs = [self._initializer(quantized, stem), scales, zeros]
            extra: Dict[str, Any] = {} if axis is None else {"axis": axis}
            self.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{stem}_dq"], name=f"{stem}_dq", **extra))
            self.dequantized[key] = f"{stem}_dq"
        return self.dequantized[key]


def per_channel(weights: Any, axis: Optional[int]) -> Tuple[Any, Any]:
    """Return int8 weights and their scales: one for each index of ``axis``, or a single one."""
    values = np.asarray(weights, np.float32)
    others = tuple(a for a in range(values.ndim) if a != axis)
    amax = np.abs(values).max(axis=others if axis is not None else None, initial=0.0)
    scale = np.asarray(np.where(amax > 0, amax / np.float32(127), 1), np.float32)
    if np.asarray(weights).dtype == np.float16:
        scale = np.maximum(scale, _SMALLEST_HALF).astype(np.float16).astype(np.float32)
    shape = [-1 if a == axis else 1 for a in range(values.ndim)] if axis is not None else []
    return np.clip(np.rint(values / scale.reshape(shape)), -127, 127).astype(np.int8), scale


def _drop_unused(graph: GraphProto) -> None:
    """Remove float weights that nothing reads any more."""
    used = {name for each in graphs(graph) for node in each.node for name in node.input}
    used |= {value.name for each in graphs(graph) for value in each.output}
    for each in graphs(graph):
        kept = [tensor for tensor in each.initializer if tensor.name in used]
        declared = {tensor.name for tensor in each.initializer} - {tensor.name for tensor in kept}
        if not declared:
            continue
        del each.initializer[:]
        each.initializer.extend(kept)
        inputs = [value for value in each.input if value.name not in declared]
        del each.input[:]
        each.input.extend(inputs)
