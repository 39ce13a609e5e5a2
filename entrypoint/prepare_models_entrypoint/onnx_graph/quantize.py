"""int8 for backends that take precision from the graph: Q/DQ nodes from the scales of a calibration cache.

Weights become int8 with one scale for each output channel and a DequantizeLinear node; each activation that an int8
layer reads gets one QuantizeLinear / DequantizeLinear pair. A layer without a scale stays unchanged and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AbstractSet, Any, Dict, List, Mapping, Optional, Set, Tuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from . import graph as graphs_
from . import layers as layers_
from . import schemas, types, weights
from .layers import Layer, Stored
from .names import Names
from .prepare import drop_unread
from .types import Scope

_SMALLEST_HALF = 2.0**-24
_ROUNDING_OF_SCALES = 0.01  # a scale that fp16 rounds by more than this would change every value


@dataclass
class Quantized:
    """What was done.

    wanted: activations of layers that could be int8. skipped: by node of a layer that isn't, the activations without
    scales. layers: how many have int8 inputs.
    """

    wanted: Set[str] = field(default_factory=set)
    skipped: Dict[str, List[str]] = field(default_factory=dict)
    layers: int = 0


def insert(
    model: ModelProto, scales: Mapping[str, float], *, names: AbstractSet[str], keep: AbstractSet[str] = frozenset()
) -> Quantized:
    """Insert Q/DQ nodes into ``model``, in place. Its own nodes keep their opset.

    Args:
        model: as ``prepare`` returns it, fp32 or fp16, without Q/DQ nodes of its own.
        scales: float32 scale of an activation by its name; scales of cast copies are taken from their originals.
        names: tensors of the model before any rewriting; ``wanted`` and ``skipped`` use these names.
        keep: names of nodes that must not become int8.
    """
    known = {name: scale for name, scale in scales.items() if np.isfinite(scale) and scale > 0}
    origins = _alias_casts(model, known, names)
    scope = types.of(model)
    layers = layers_.of(scope, keep)
    _join(model, known, {name for layer in layers.values() for name in layer.activations()})
    done = Quantized()
    _Writer(model, known, layers, done).rewrite(scope)
    done.wanted = {origins.get(name, name) for name in done.wanted}
    done.skipped = {node: [origins.get(name, name) for name in lacking] for node, lacking in done.skipped.items()}
    drop_unread(model)
    return done


def _join(model: ModelProto, scales: Dict[str, float], read: Set[str]) -> None:
    """Give the inputs and output of a concatenation that an int8 layer reads the same scale, the largest.

    With several scales, the values would have to be converted. Casts are followed: both sides hold the same tensor.
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


def _alias_casts(model: ModelProto, scales: Dict[str, float], names: AbstractSet[str]) -> Dict[str, str]:
    """Give both sides of a cast the scale that one of them has: rewriting to fp16 renames tensors at casts.

    Returns the original model's name for each tensor that such a cast added.
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


class _Writer:
    """Rewrites the graphs of one model."""

    def __init__(
        self, model: ModelProto, scales: Mapping[str, float], layers: Mapping[str, Layer], done: Quantized
    ) -> None:
        self.model, self.scales, self.layers, self.done = model, scales, layers, done
        self.names = Names(model)
        self.opset = schemas.opsets(model)[""]

    def rewrite(self, scope: Scope) -> None:
        graph = _Graph(self, scope)
        for node in scope.graph.node:
            for inner in scope.inner.get(node.name, ()):
                self.rewrite(inner)
            layer = self.layers.get(node.name)
            if layer is not None and self._has_scales(layer, scope):
                graph.quantize(layer)
            graph.nodes.append(node)
        del scope.graph.node[:]
        scope.graph.node.extend(graph.nodes)

    def _has_scales(self, layer: Layer, scope: Scope) -> bool:
        names = layer.activations()
        self.done.wanted.update(names)
        lacking = [name for name in names if not self._is_usable(name, scope)]
        if lacking:
            self.done.skipped[layer.node.name] = lacking
            return False
        self.done.layers += 1
        return True

    def _is_usable(self, name: str, scope: Scope) -> bool:
        if name not in self.scales:
            return False
        if scope.get(name) != TensorProto.FLOAT16:
            return True
        scale = self.scales[name]
        return bool(abs(float(np.float16(scale)) - scale) <= _ROUNDING_OF_SCALES * scale)

    def operator(self, kind: int) -> Dict[str, str]:
        """Return the domain of Q/DQ nodes with scales of this type, as arguments for a node.

        ONNX defines axes from opset 13 on, and fp16 scales from 19 on. ONNX Runtime has equivalent nodes for every
        opset, and TensorRT's parser looks only at the operator's name.
        """
        if self.opset >= (schemas.HALF_SCALES if kind == TensorProto.FLOAT16 else schemas.SCALE_AXIS):
            return {}
        if not any(item.domain == schemas.CONTRIB for item in self.model.opset_import):
            self.model.opset_import.add(domain=schemas.CONTRIB, version=1)
        return {"domain": schemas.CONTRIB}


class _Graph:
    """One graph while it is rewritten."""

    def __init__(self, writer: _Writer, scope: Scope) -> None:
        self.writer, self.scope = writer, scope
        self.nodes: List[NodeProto] = []
        self._activations: Dict[str, str] = {}
        self._weights: Dict[Tuple[str, Optional[int]], str] = {}

    def quantize(self, layer: Layer) -> None:
        for position in layer.read:
            layer.node.input[position] = self._activation(layer.node.input[position])
        if layer.stored is not None:
            position = layer.stored.position
            layer.node.input[position] = self._weight(layer.node.input[position], layer.stored)

    def _initializer(self, values: Any, wish: str) -> str:
        return weights.add(self.scope.graph, values, self.writer.names.fresh(wish))

    def _add(self, operator: str, inputs: List[str], wish: str, kind: int, **attributes: Any) -> str:
        name = self.writer.names.fresh(wish)
        self.nodes.append(
            helper.make_node(operator, inputs, [name], name=name, **self.writer.operator(kind), **attributes)
        )
        return name

    def _activation(self, name: str) -> str:
        if name not in self._activations:
            kind = self.scope.get(name)
            scale = np.asarray(self.writer.scales[name], np.float16 if kind == TensorProto.FLOAT16 else np.float32)
            given = [
                self._initializer(scale, f"{name}_scale"),
                self._initializer(np.zeros((), np.int8), f"{name}_zero"),
            ]
            integers = self._add("QuantizeLinear", [name, *given], f"{name}_q", kind)
            self._activations[name] = self._add("DequantizeLinear", [integers, *given], f"{name}_dq", kind)
        return self._activations[name]

    def _weight(self, name: str, stored: Stored) -> str:
        axis, key = stored.axis, (name, stored.axis)
        if key not in self._weights:
            stem = f"{name}_int8" if axis is None else f"{name}_int8_{axis}"
            integers, scale = per_channel(weights.array(stored.tensor), axis)
            given = [
                self._initializer(integers, stem),
                self._initializer(scale, f"{stem}_scale"),
                self._initializer(np.zeros(scale.shape, np.int8), f"{stem}_zero"),
            ]
            extra: Dict[str, Any] = {} if axis is None else {"axis": axis}
            self._weights[key] = self._add("DequantizeLinear", given, f"{stem}_dq", stored.tensor.data_type, **extra)
        return self._weights[key]


def per_channel(values: Any, axis: Optional[int]) -> Tuple[Any, Any]:
    """Return int8 weights and their scales in the weights' type: one for each index of ``axis``, or a single one."""
    exact = np.asarray(values, np.float32)
    others = tuple(a for a in range(exact.ndim) if a != axis)
    amax = np.abs(exact).max(axis=others if axis is not None else None, initial=0.0)
    scale = np.asarray(np.where(amax > 0, amax / np.float32(127), 1), np.float32)
    scale[scale == 0] = np.finfo(np.float32).tiny  # amax / 127 underflows for the smallest subnormal numbers
    if np.asarray(values).dtype == np.float16:
        scale = np.maximum(scale, _SMALLEST_HALF).astype(np.float16)
    shape = [-1 if a == axis else 1 for a in range(exact.ndim)] if axis is not None else []
    steps = exact / scale.astype(np.float32).reshape(shape)
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scale
