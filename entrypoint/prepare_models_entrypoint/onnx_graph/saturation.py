"""Tensors behind outputs that hide errors: scores near 0 and 1, and labels."""

from __future__ import annotations

from typing import Dict, Set

from onnx import ModelProto, TensorProto

from . import types
from .operators import COMPARISONS, MOVES, named

_HIDE = COMPARISONS | named("ArgMax ArgMin HardSigmoid LogSoftmax Sigmoid Softmax Tanh")


def before(model: ModelProto) -> Set[str]:
    """Return the float32 tensors from which scores and labels are made that become outputs, at most moved or joined."""
    scope = types.of(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    outputs = [value.name for value in model.graph.output]
    found: Set[str] = set()
    pending, seen = list(outputs), set(outputs)
    while pending:
        node = makers.get(pending.pop())
        if node is None:
            continue
        if node.op_type in _HIDE:
            found.add(node.input[0])
        elif node.op_type in MOVES or node.op_type == "Cast":
            fresh: Dict[str, None] = dict.fromkeys(name for name in node.input if name not in seen)
            pending += fresh
            seen.update(fresh)
    return {name for name in found if scope.get(name) == TensorProto.FLOAT and name in makers} - set(outputs)
