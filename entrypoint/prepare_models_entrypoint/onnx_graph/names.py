"""Names of nodes and tensors: each node gets one, and additions never collide."""

from __future__ import annotations

from typing import Iterator, Set

from onnx import ModelProto

from . import graph
from .walk import graphs


class Names:
    """Every name that a model uses, for tensors and nodes alike."""

    def __init__(self, model: ModelProto) -> None:
        self._used: Set[str] = set(_all(model))

    def fresh(self, wish: str) -> str:
        """Return ``wish``, with a number if it is taken, and mark it as taken."""
        name, count = wish, 1
        while name in self._used:
            count += 1
            name = f"{wish}_{count}"
        self._used.add(name)
        return name


def name_nodes(model: ModelProto) -> None:
    """Give each node of each graph a unique name, in place; names that are already unique stay."""
    names, seen = Names(model), set()
    for node in graph.nodes(model):
        if not node.name or node.name in seen:
            output = next((name for name in node.output if name), "")
            node.name = names.fresh(node.name or f"{node.op_type}/{output}")
        seen.add(node.name)


def _all(model: ModelProto) -> Iterator[str]:
    for each in graphs(model.graph):
        yield from (value.name for value in (*each.input, *each.output, *each.initializer))
        yield from (sparse.values.name for sparse in each.sparse_initializer)
        for node in each.node:
            yield from (node.name, *node.input, *node.output)
