"""Weights that reach their layer through nodes that read only constants: these are computed once and removed."""

from __future__ import annotations

from typing import Dict, Optional

from onnx import ModelProto, NodeProto

from . import schemas, types, weights
from .constants import evaluated
from .layers import MATRIX
from .names import Names
from .operators import ARITHMETIC, named
from .prepare import drop_unread
from .types import Scope

_FOLDED = ARITHMETIC | named(
    "Cast Concat Exp Flatten Identity Reciprocal ReduceL2 ReduceMean ReduceSum Reshape Slice Split Sqrt Squeeze "
    "Transpose Unsqueeze"
)
_MOST = 32  # nodes


def fold(model: ModelProto) -> int:
    """Make layers read their weights directly, in place; return how many weights were moved.

    Args:
        model: as ``prepare`` returns it.
    """
    folder = _Folder(model)
    for scope in types.of(model).all():
        folder.graph(scope)
    if folder.count:
        drop_unread(model, _FOLDED)
    return folder.count


class _Folder:
    def __init__(self, model: ModelProto) -> None:
        self.model, self.names, self.count = model, Names(model), 0

    def graph(self, scope: Scope) -> None:
        producers = {name: node for node in scope.graph.node for name in node.output if name}
        found: Dict[str, Optional[str]] = {}
        for node in scope.graph.node:
            for position in (0, 1) if node.op_type in MATRIX else ():
                name = node.input[position] if position < len(node.input) else ""
                if name and name not in found:
                    found[name] = self._folded(name, scope, producers)
                if name and found[name] is not None:
                    node.input[position] = found[name] or ""

    def _folded(self, name: str, scope: Scope, producers: Dict[str, NodeProto]) -> Optional[str]:
        """Return the name of a new weight with the constant value of this tensor; None if it depends on an input."""
        before: Dict[str, NodeProto] = {}
        pending = [name] if scope.constant(name) is None else []
        while pending:
            node = producers.get(pending.pop())
            if node is None or node.op_type not in _FOLDED or node.domain not in schemas.STANDARD:
                return None
            before[node.name] = node
            if len(before) > _MOST:
                return None
            pending += [each for each in node.input if each and scope.constant(each) is None]
        if not before:
            return None
        stored = {each: scope.constant(each) for node in before.values() for each in node.input}
        feeds = {each: weights.array(tensor) for each, tensor in stored.items() if tensor is not None}
        values = evaluated([node for node in scope.graph.node if node.name in before], feeds, name, self.model)
        self.count += 1
        return weights.add(scope.graph, values, self.names.fresh(f"{name}_folded"))
