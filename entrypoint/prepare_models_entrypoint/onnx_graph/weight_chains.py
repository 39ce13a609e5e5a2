"""Weights that reach their layer through nodes that only move them: these nodes are computed once and removed."""

from __future__ import annotations

from typing import Dict, List, Optional

from onnx import ModelProto, NodeProto

from . import schemas, types, weights
from .constants import evaluated
from .layers import MATRIX
from .names import Names
from .prepare import drop_unread
from .types import Scope
from .walk import graphs, readers

# Operators that don't increase the number of values.
_MOVES = frozenset(["Cast", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"])
_LONGEST = 16


def fold(model: ModelProto) -> int:
    """Make layers read their weights directly, in place; return how many weights were moved.

    Args:
        model: as ``prepare`` returns it.
    """
    folder = _Folder(model)
    folder.graph(types.of(model))
    if folder.count:
        _drop_idle(model)
        drop_unread(model)
    return folder.count


class _Folder:
    def __init__(self, model: ModelProto) -> None:
        self.model, self.names, self.count = model, Names(model), 0

    def graph(self, scope: Scope) -> None:
        producers = {name: node for node in scope.graph.node for name in node.output if name}
        found: Dict[str, Optional[str]] = {}
        for node in scope.graph.node:
            for inner in scope.inner.get(node.name, ()):
                self.graph(inner)
            for position in (0, 1) if node.op_type in MATRIX else ():
                name = node.input[position] if position < len(node.input) else ""
                if name and name not in found:
                    found[name] = self._folded(name, scope, producers)
                if name and found[name] is not None:
                    node.input[position] = found[name] or ""

    def _folded(self, name: str, scope: Scope, producers: Dict[str, NodeProto]) -> Optional[str]:
        """Return the name of a new weight with the constant value of this tensor; None if it depends on an input."""
        chain: List[NodeProto] = []
        asked = name
        while scope.constant(name) is None:
            node = producers.get(name)
            if node is None or node.op_type not in _MOVES or node.domain not in schemas.STANDARD:
                return None
            if len(chain) == _LONGEST or any(each and scope.constant(each) is None for each in node.input[1:]):
                return None
            chain.append(node)
            name = node.input[0]
        if not chain:
            return None
        stored = {each: scope.constant(each) for node in chain for each in node.input}
        feeds = {each: weights.array(tensor) for each, tensor in stored.items() if tensor is not None}
        values = evaluated(chain[::-1], feeds, asked, self.model)
        made = scope.graph.initializer.add()
        weights.fill(made, values, self.names.fresh(f"{asked}_folded"))
        self.count += 1
        folded: str = made.name
        return folded


def _drop_idle(model: ModelProto) -> None:
    """Remove nodes that moved weights and are no longer read."""
    while True:
        read = readers(model)
        idle = [
            (graph, node)
            for graph in graphs(model.graph)
            for node in graph.node
            if node.op_type in _MOVES and not any(map(read.get, node.output))
        ]
        if not idle:
            return
        for graph, node in idle:
            graph.node.remove(node)
