"""Whole numbers of 8 and 16 bits: TensorRT has them as inputs and outputs at most, so inside they become int32."""

from __future__ import annotations

from typing import Dict, List, Set

from onnx import ModelProto, NodeProto, TensorProto, helper

from . import types, weights
from .names import Names
from .operators import COMPARISONS, MOVES, named

_SMALL = (TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16)
# Whole numbers that a Cast to a small type may wrap.
_WRAPPED = (
    TensorProto.INT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64,
    TensorProto.UINT64,
)  # fmt: skip
_MOVES = MOVES - named("ScatterElements ScatterND TopK Unique Upsample")  # these may also add, compare or interpolate
# Their results are the same in int32.
_SAME = (
    _MOVES
    | COMPARISONS
    | named("ArgMax ArgMin Cast Constant ConstantOfShape Max Min ReduceMax ReduceMin TopK Unique Where")
)


def inside(model: ModelProto) -> List[str]:
    """Return the small tensors that Casts at inputs and outputs don't remove, if all of them may become int32."""
    scope = types.of(model)
    small = {name for name, kind in scope.kinds.items() if kind in _SMALL}
    touching = [node for node in model.graph.node if small & {*node.input, *node.output}]
    if scope.inner or any(node.op_type not in _SAME or node.domain for node in touching):
        return []
    if _wraps(touching, scope, small):
        return []
    inputs, outputs = ({value.name for value in values} for values in (model.graph.input, model.graph.output))
    read = {name for node in touching if node.op_type != "Cast" for name in node.input}
    made = {name for node in touching if node.op_type != "Cast" for name in node.output}
    return sorted((small - inputs - outputs) | (small & inputs & read) | (small & outputs & made))


def _wraps(nodes: List[NodeProto], scope: types.Scope, small: Set[str]) -> bool:
    """Return whether anything but an output is made of what a Cast between whole numbers may have wrapped."""
    cut: Set[str] = set()
    for node in nodes:
        if cut & set(node.input) and node.op_type not in _MOVES:
            return True
        if cut & set(node.input) or (node.op_type == "Cast" and scope.get(node.input[0]) in _WRAPPED):
            cut.update(small & set(node.output))
    return False


def widen(model: ModelProto) -> None:
    """Make small tensors int32, with Casts next to inputs and outputs, whose types stay. See ``inside``."""
    graph, names = model.graph, Names(model)
    for tensor in [tensor for tensor in graph.initializer if tensor.data_type in _SMALL]:
        tensor.CopyFrom(weights.converted(tensor, TensorProto.INT32))
    for value in [value for value in graph.value_info if types.declared(value) in _SMALL]:
        graph.value_info.remove(value)
    for node in graph.node:
        types.convert_attributes(node, _SMALL, TensorProto.INT32)
    inputs = {each.name: names.fresh(f"{each.name}_int32") for each in graph.input if types.declared(each) in _SMALL}
    outputs = {
        each.name: types.declared(each) for each in graph.output
        if types.declared(each) in _SMALL and each.name not in inputs
    }  # fmt: skip
    inner: Dict[str, str] = {**inputs, **{name: names.fresh(f"{name}_int32") for name in outputs}}
    for node in graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    before = [_cast(name, wide, TensorProto.INT32) for name, wide in inputs.items()]
    after = [_cast(inner[name], name, kind) for name, kind in outputs.items()]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{source}_to_{target}", to=kind)
