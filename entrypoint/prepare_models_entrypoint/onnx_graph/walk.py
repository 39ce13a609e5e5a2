"""Walking a graph and the graphs within it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterable, Iterator, List, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, helper


def bodies(node: NodeProto) -> List[GraphProto]:
    """Return the graphs within a node (If, Loop, Scan)."""
    found: List[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            found.extend(attribute.graphs)
    return found


def attributes(node: NodeProto) -> Dict[str, Any]:
    """Return the values of a node's attributes by name; texts are bytes. Those without a type have no value."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute if each.type}


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and every graph within it."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def within(node: NodeProto) -> Iterator[NodeProto]:
    """Yield a node and the nodes within it."""
    yield node
    for body in bodies(node):
        for graph in graphs(body):
            yield from graph.node


def with_bodies(node: NodeProto) -> List[str]:
    """Return the names of a node and of the nodes within it."""
    return [each.name for each in within(node)]


def reads(node: NodeProto) -> Dict[str, None]:
    """Return the tensors that a node reads, including those that its bodies read from outside."""
    found = dict.fromkeys(name for name in node.input if name)
    for body in bodies(node):
        own = {value.name for value in (*body.input, *body.initializer)}
        for inner in body.node:
            found.update(dict.fromkeys(name for name in reads(inner) if name not in own))
            own.update(inner.output)
        found.update(dict.fromkeys(value.name for value in body.output if value.name not in own))
    return found


def leading(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> List[NodeProto]:
    """Return those of some nodes in order from which tensors are computed."""
    needed, found = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            found.append(node)
            needed.update(reads(node))
    return found[::-1]


def readers(model: ModelProto) -> "Counter[str]":
    """Return how often nodes read each tensor, or a graph returns it."""
    read = Counter(name for graph in graphs(model.graph) for node in graph.node for name in node.input)
    read.update(value.name for graph in graphs(model.graph) for value in graph.output)
    return read
