"""What a model's outputs mean: labels or amounts in whole numbers, and values of several kinds that are joined."""

from __future__ import annotations

from typing import AbstractSet, Any, Dict, List, Mapping, NamedTuple, Set

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from . import schemas, types
from .operators import ARITHMETIC, MOVES, named
from .segments import Segments, Values
from .types import Scope

Makers = Mapping[str, NodeProto]

_PLACES = ("TopK", "Unique")  # outputs but the first
# What they make of labels are labels.
_PASS = MOVES | ARITHMETIC | named("Abs Cast Ceil Clip Floor Max Min QuantizeLinear Round Where")
# What they move ends at places that don't depend on its values.
_STILL = named("Cast Concat Flatten Identity Reshape Slice Split Squeeze Transpose Unsqueeze")


class Meaning(NamedTuple):
    """quantities: outputs of whole numbers that are rounded floats, such as pixels; others are labels or places.

    kinds: for outputs that join values of several kinds, such as boxes in pixels and scores, an array of the output's
    shape with a number for each kind.
    """

    quantities: AbstractSet[str] = frozenset()
    kinds: Mapping[str, Any] = {}


def of(model: ModelProto, feed: Mapping[str, Any]) -> Meaning:
    """Return what the outputs mean.

    Args:
        model: as ``prepare`` returns it.
        feed: a sample.
    """
    scope, makers = types.of(model), {name: node for node in model.graph.node for name in node.output if name}
    names = [value.name for value in model.graph.output]
    floats = [name for name in names if scope.get(name) in types.FLOATS]
    whole = [name for name in names if scope.get(name) not in (*types.FLOATS, TensorProto.BOOL)]
    quantities = {name for name in whole if _is_quantity(name, makers, scope)}
    tails = {name: _Tail(name, makers) for name in floats}
    return Meaning(quantities, {name: tail.kinds(model, feed) for name, tail in tails.items() if tail.is_mixed})


def _is_quantity(output: str, makers: Makers, scope: Scope) -> bool:
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


class _Tail:
    """The nodes that only move values to an output. Values are of one kind if the same operator computes them."""

    def __init__(self, output: str, makers: Makers) -> None:
        self._output = output
        self._nodes: Set[str] = set()
        operators: Dict[str, str] = {}
        pending = [output]
        while pending:
            name = pending.pop()
            node = makers.get(name)
            if node is None or node.op_type not in _STILL or node.domain not in schemas.STANDARD:
                operators[name] = node.op_type if node is not None else ""
            elif node.name not in self._nodes:
                self._nodes.add(node.name)
                pending += list(node.input) if node.op_type == "Concat" else [node.input[0]]
        self._numbers = {name: sorted(set(operators.values())).index(kind) for name, kind in operators.items()}
        self.is_mixed = len(set(operators.values())) > 1

    def kinds(self, model: ModelProto, feed: Mapping[str, Any]) -> Any:
        """Return the number of each value's kind: numbers are moved as the values are."""
        nodes = [node for node in model.graph.node if node.name in self._nodes]
        own = {name for node in nodes for name in node.output}
        read = sorted({name for node in nodes for name in node.input if name and name not in own})
        given = {
            name: np.full_like(value, self._numbers[name]) if name in self._numbers else value
            for name, value in _values(model, read, feed).items()
        }
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in given.items()
        ]
        moves = helper.make_graph(nodes, "moves", inputs, [helper.make_empty_tensor_value_info(self._output)])
        tail = helper.make_model(moves, opset_imports=model.opset_import, ir_version=model.ir_version)
        return np.rint(Segments(tail).run(given)[self._output]).astype(np.int8)


def _values(model: ModelProto, names: List[str], feed: Mapping[str, Any]) -> Values:
    """Return tensors of a run of the model, which is the same afterwards."""
    outputs = [value.name for value in model.graph.output]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in outputs)
    try:
        found = Segments(model).run(feed)
    finally:
        del model.graph.output[len(outputs) :]
    return {name: np.asarray(found[name]) for name in names}
