"""Values of a graph that are known before it runs: initializers, constants, and what small nodes compute from them."""

from __future__ import annotations

import math
from typing import Dict, Mapping, Optional, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..third_party import ThirdPartyError, third_party
from .weights import Array

_LARGEST = 1 << 14  # elements: anything larger is a weight, not a size, switch or window
_DEEPEST = 40
_NEWEST_IR = 10


class Constants:
    """Constants of a model's main graph, by tensor name. ``outer``: those of the graph around it, if it is a body."""

    def __init__(self, model: ModelProto, outer: "Optional[Constants]" = None) -> None:
        self._model, self._outer = model, outer
        self._inputs = {value.name for value in model.graph.input}
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output if name}
        self._known: Dict[str, Optional[Array]] = {}

    def within(self, body: GraphProto) -> "Constants":
        """Return the constants that a body in this graph sees."""
        return Constants(ModelProto(graph=body, opset_import=self._model.opset_import), self)

    def get(self, name: str) -> Optional[Array]:
        """Return the value of a tensor as an array, or None if it is large or depends on an input."""
        return self._value(name, _DEEPEST) if name else None

    def _value(self, name: str, depth: int) -> Optional[Array]:
        if name not in self._known:
            self._known[name] = self._computed(name, depth)
        return self._known[name]

    def _computed(self, name: str, depth: int) -> Optional[Array]:
        if name in self._tensors:
            return _array(self._tensors[name])
        node = self._producers.get(name)
        if node is None and self._outer is not None and name not in self._inputs:
            return self._outer.get(name)
        if node is None or not depth or not _is_pure(node):
            return None
        values = {given: self._value(given, depth - 1) for given in node.input if given}
        feeds = {given: value for given, value in values.items() if value is not None}
        if len(feeds) < len(values):
            return None
        try:
            with third_party():
                value = evaluated([node], feeds, name, self._model)
        except ThirdPartyError:
            return None
        return value if value.size <= _LARGEST else None


def _array(tensor: TensorProto) -> Optional[Array]:
    if tensor.data_location == TensorProto.EXTERNAL or math.prod(tensor.dims) > _LARGEST:
        return None
    return numpy_helper.to_array(tensor)


def _is_pure(node: NodeProto) -> bool:
    has_body = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
    return not node.domain and not has_body and not node.op_type.startswith(("Random", "Sequence"))


def evaluated(nodes: Sequence[NodeProto], feeds: Mapping[str, Array], name: str, model: ModelProto) -> Array:
    """Return the tensor ``name``, which some nodes of a model compute from the values in ``feeds``, by name."""
    inputs = [
        helper.make_tensor_value_info(given, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for given, value in feeds.items()
    ]
    graph = helper.make_graph(nodes, "some", inputs, [helper.make_empty_tensor_value_info(name)])
    ir = min(model.ir_version or _NEWEST_IR, _NEWEST_IR)
    some = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=ir)
    (result,) = ReferenceEvaluator(some).run([name], dict(feeds))
    return np.asarray(result)
