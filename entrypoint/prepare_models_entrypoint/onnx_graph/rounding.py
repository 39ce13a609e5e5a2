"""A typed graph rewritten so that ONNX Runtime on the CPU computes fp16 and bf16 as the GPU does.

ONNX Runtime keeps fp32 between fp16 nodes, so running such a graph as it is proves nothing. Here every node computes in
fp32, as the hardware's accumulators do, and each result is cast to the tensor's own type and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional

from onnx import ModelProto, NodeProto, TensorProto, helper

from . import schemas, types
from .names import Names
from .prepare import prepare
from .types import Scope

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# Their results are their inputs' values, or constants: nothing needs rounding, and ONNX Runtime has every type.
_CARRIERS = (
    "Constant", "Identity", "If", "Loop", "Scan", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "ConcatFromSequence", "SplitToSequence", "SequenceMap", "Optional",
    "OptionalGetElement", "OptionalHasElement",
)  # fmt: skip


@dataclass
class Rounded:
    """A model to be run without graph optimizations.

    wide: by name of a half tensor of the outermost graph, the name of the tensor with the same values in fp32.
    """

    model: ModelProto
    wide: Dict[str, str] = field(default_factory=dict)


def rounded(model: ModelProto) -> Rounded:
    """Make each fp16 and bf16 tensor of a model have the values that it has on the GPU.

    Tensors keep their names and types. The model is changed in place; its weights are untouched.
    """
    model = prepare(model)
    scope = types.of(model)
    outermost = _Writer(scope, None, Names(model))
    outermost.rewrite()
    return Rounded(model, outermost.wide)


class _Writer:
    """Rewrites one graph; ``outer`` rewrites the graph around it, whose fp32 copies this one may read."""

    def __init__(self, scope: Scope, outer: "Optional[_Writer]", names: Names) -> None:
        self.scope, self.outer, self.names = scope, outer, names
        self.wide: Dict[str, str] = {}
        self._nodes: List[NodeProto] = []

    def rewrite(self) -> None:
        graph = self.scope.graph
        for node in list(graph.node):
            for inner in self.scope.inner.get(node.name, ()):
                _Writer(inner, self, self.names).rewrite()
            if self._is_computed(node):
                self._widen(node)
            else:
                self._nodes.append(node)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self._nodes)

    def find(self, name: str) -> Optional[str]:
        """Return the fp32 copy of a half tensor, or None if there is none yet."""
        if name in self.wide or self.outer is None:
            return self.wide.get(name)
        return self.outer.find(name)

    def _half(self, name: str) -> int:
        kind = self.scope.get(name) if name else 0
        return kind if kind in HALVES else 0

    def _is_computed(self, node: NodeProto) -> bool:
        if node.op_type in _CARRIERS or node.domain not in (*schemas.STANDARD, "com.microsoft"):
            return False
        return any(self._half(name) for name in (*node.input, *node.output))

    def _widen(self, node: NodeProto) -> None:
        """Make a node compute in fp32: it reads fp32 copies, and its outputs are rounded."""
        for index, name in enumerate(node.input):
            if self._half(name):
                node.input[index] = self.find(name) or self._copied(name)
        self._nodes.append(node)
        for index, name in enumerate(node.output):
            half = self._half(name)
            if half:
                node.output[index] = exact = self.names.fresh(f"{name}_exact")
                self._nodes.append(helper.make_node("Cast", [exact], [name], to=half))
                self._copied(name)
        types.convert_attributes(node, HALVES, TensorProto.FLOAT)

    def _copied(self, name: str) -> str:
        self.wide[name] = copy = self.names.fresh(f"{name}_wide")
        self._nodes.append(helper.make_node("Cast", [name], [copy], to=TensorProto.FLOAT))
        return copy
