"""Walking a graph and the graphs within it."""

from __future__ import annotations

from typing import Iterator, List

from onnx import AttributeProto, GraphProto, NodeProto


def bodies(node: NodeProto) -> List[GraphProto]:
    """Return the graphs within a node (If, Loop, Scan)."""
    found: List[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            found.extend(attribute.graphs)
    return found


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and every graph within it."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def with_bodies(node: NodeProto) -> List[str]:
    """Return the names of a node and of the nodes within it."""
    return [node.name, *(each.name for body in bodies(node) for graph in graphs(body) for each in graph.node)]
