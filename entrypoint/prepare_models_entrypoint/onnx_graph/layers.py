"""Which nodes of a model can run in int8, and which of their inputs become int8."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Container, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from onnx import NodeProto, TensorProto

from . import schemas, weights
from .types import Scope
from .walk import attributes

MATRIX = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


class Stored(NamedTuple):
    """Weights of a layer."""

    position: int
    tensor: TensorProto
    axis: Optional[int]


@dataclass(frozen=True)
class Layer:
    """A node that can run in int8.

    read: positions of its activations. stored: position and values of its weights, and the axis of the output channels,
    None if there is none; None for a layer without weights.
    """

    node: NodeProto
    read: Tuple[int, ...]
    stored: Optional[Stored] = None

    def activations(self) -> List[str]:
        """Return the names of its activations."""
        return [self.node.input[position] for position in self.read]


class _Made(NamedTuple):
    """What is known about a graph while walking it: places of convolutions and numbers of readers, by tensor."""

    convolutions: Dict[str, int]
    readers: Dict[str, int]


def of(scope: Scope, keep: Container[str] = frozenset()) -> Dict[str, Layer]:
    """Return the layers of all graphs of a model, by the name of the node. ``keep``: names of other nodes."""
    found: Dict[str, Layer] = {}
    made = _Made({}, Counter(name for node in scope.graph.node for name in set(node.input)))
    for value in scope.graph.output:
        made.readers[value.name] += 1
    for index, node in enumerate(scope.graph.node):
        for inner in scope.inner.get(node.name, ()):
            found.update(of(inner, keep))
        layer = None if node.name in keep or node.domain not in schemas.STANDARD else _layer(node, scope, made)
        if layer is not None:
            found[node.name] = layer
            if node.op_type in _CONVOLUTIONS:
                made.convolutions[node.output[0]] = index
    return found


def _layer(node: NodeProto, scope: Scope, made: _Made) -> Optional[Layer]:
    if node.op_type == "Add":
        return _residual(node, scope, made)
    if node.op_type not in MATRIX or len(node.input) < 2:
        return None
    found = {position: _weight(node.input[position], scope) for position in (0, 1)}
    stored = [(position, tensor) for position, tensor in found.items() if tensor is not None]
    if len(stored) != 1 or (node.op_type in _CONVOLUTIONS and found[1] is None):
        return None  # products of activations have no weights to shrink, and computed weights have no scales
    ((position, tensor),) = stored
    if not _is_activation(node.input[1 - position], scope):
        return None
    return Layer(node, (1 - position,), Stored(position, tensor, channel_axis(node, position, len(tensor.dims))))


def _residual(node: NodeProto, scope: Scope, made: _Made) -> Optional[Layer]:
    """Return a sum with a convolution's output: both are fused, and the sum reads its other operand as int8."""
    alone = [
        (made.convolutions[name], position)
        for position, name in enumerate(node.input)
        if name in made.convolutions and made.readers[name] == 1
    ]
    if not alone or len(node.input) != 2 or node.input[0] == node.input[1]:
        return None
    other = 1 - max(alone)[1]
    return Layer(node, (other,)) if _is_activation(node.input[other], scope) else None


def _weight(name: str, scope: Scope) -> Optional[TensorProto]:
    """Return float weights whose values are all finite."""
    tensor = scope.constant(name) if name else None
    if tensor is None or tensor.data_type not in _FLOATS or not weights.size(tensor):
        return None
    values = weights.array(tensor)
    return tensor if np.isfinite([values.min(), values.max()]).all() else None


def _is_activation(name: str, scope: Scope) -> bool:
    return bool(name) and scope.constant(name) is None and scope.get(name) in _FLOATS


def channel_axis(node: NodeProto, position: int, rank: int) -> Optional[int]:
    """Return the axis of the output channels in a layer's weights, or None."""
    given = attributes(node)
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if given.get("group", 1) in (0, 1) else None  # grouped: no axis is the output channel
    if node.op_type == "Gemm" and position == 1:
        return 0 if given.get("transB", 0) else 1
    return 1 if node.op_type == "MatMul" and position == 1 and rank == 2 else None
