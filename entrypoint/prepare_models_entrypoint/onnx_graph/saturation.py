"""What outputs hide: errors of scores near 0 and 1, or of those behind labels, and whether whole numbers are labels."""

from __future__ import annotations

from typing import Dict, Set

from onnx import ModelProto, NodeProto, TensorProto

from . import types
from .operators import ARITHMETIC, COMPARISONS, MOVES, named
from .types import Scope

_HIDE = COMPARISONS | named("ArgMax ArgMin HardSigmoid LogSoftmax Sigmoid Softmax Tanh")
_PLACES = ("TopK", "Unique")  # outputs but the first
# What they make of labels are labels.
_PASS = MOVES | ARITHMETIC | named("Abs Cast Ceil Clip Floor Max Min QuantizeLinear Round Where")


def before(model: ModelProto) -> Set[str]:
    """Return the float32 tensors from which scores and labels are made that become outputs, at most moved or joined."""
    scope = types.of(model)
    makers = _makers(model)
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


def quantities(model: ModelProto) -> Set[str]:
    """Return the outputs of whole numbers that are rounded floats, such as pixels; others are labels or places."""
    scope, makers = types.of(model), _makers(model)
    names = {value.name for value in model.graph.output}
    return {name for name in names if scope.get(name) not in types.FLOATS and _is_quantity(name, makers, scope)}


def _is_quantity(output: str, makers: Dict[str, NodeProto], scope: Scope) -> bool:
    """Return whether everything that a tensor is moved, rounded or scaled from is computed in floats."""
    pending, seen = [output], {output}
    is_computed = False
    while pending:
        name = pending.pop()
        node = makers.get(name)
        if scope.constant(name) is not None:
            continue
        if node is None or (node.op_type in _PLACES and name != node.output[0]):
            return False
        if node.op_type in _PASS:
            fresh = [each for each in node.input if each and each not in seen]
            pending += fresh
            seen.update(fresh)
        elif scope.get(name) in types.FLOATS:
            is_computed = True
        else:
            return False
    return is_computed


def _makers(model: ModelProto) -> Dict[str, NodeProto]:
    return {name: node for node in model.graph.node for name in node.output if name}
