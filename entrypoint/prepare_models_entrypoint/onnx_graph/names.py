"""Names of nodes and tensors: each node gets one, and additions never collide."""

from __future__ import annotations

from typing import Iterator, Set

from onnx import GraphProto, ModelProto, NodeProto

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
    for node in _nodes(model):
        if not node.name or node.name in seen:
            output = next((name for name in node.output if name), "")
            node.name = names.fresh(node.name or f"{node.op_type}/{output}")
        seen.add(node.name)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    for graph in graphs(model.graph):
        yield from graph.node


def _all(model: ModelProto) -> Iterator[str]:
    for graph in graphs(model.graph):
        yield from _of_graph(graph)


def _of_graph(graph: GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        yield node.name
        yield from node.input
        yield from node.output
