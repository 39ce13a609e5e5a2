"""Which precision the compute layers of a graph have, counted from the graph itself."""

from __future__ import annotations

from collections import Counter
from typing import Callable, Dict, Iterator, List, Tuple

from onnx import ModelProto, NodeProto, TensorProto

from ..converters.precision import ORDER, Evidence
from . import graph as graphs_
from . import types, weights
from .operators import FOLLOW

_NAMES: Dict[int, str] = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
_FLOATS = frozenset({TensorProto.FLOAT, *_NAMES})
_IDLE = FOLLOW | frozenset(graphs_.QUANTIZERS)
_QUANTIZED: Dict[int, str] = {
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.FLOAT8E4M3FN: "fp8",
}


def of_graph(model: ModelProto) -> Evidence:
    """Return layers and weights by precision. Without compute layers, all other layers that compute are counted.

    Args:
        model: as ``prepare`` returns it.
    """
    scope = types.of(model)
    found = list(_counted(scope, lambda node: node.op_type in graphs_.COMPUTE))
    found = found or list(_counted(scope, lambda node: node.op_type not in _IDLE))
    layers = Counter(name for name, _ in found)
    known = [name for name in ORDER if name in layers]
    return Evidence(
        "graph",
        {name: layers[name] for name in known},
        {name: sum(elements for each, elements in found if each == name) for name in known},
    )


def _counted(scope: types.Scope, counts: Callable[[NodeProto], bool]) -> Iterator[Tuple[str, int]]:
    """Yield the precision and the number of weights of each float layer that counts."""
    for graph in scope.all():
        producers = {name: node for node in graph.graph.node for name in node.output}
        for node in graph.graph.node:
            if counts(node) and any(graph.get(name) in _FLOATS for name in node.input if name):
                yield _precision(node, graph, producers), _elements(node, producers, graph)


def _precision(node: NodeProto, scope: types.Scope, producers: Dict[str, NodeProto]) -> str:
    sources = [producers.get(name) for name in node.input[:2] if name]
    dequantized: List[NodeProto] = [
        source for source in sources if source is not None and source.op_type == "DequantizeLinear"
    ]
    if sources and len(dequantized) == len(sources):
        return _QUANTIZED.get(scope.get(dequantized[0].input[0]), "int8")
    return next((_NAMES[kind] for kind in map(scope.get, node.input) if kind in _NAMES), "fp32")


def _elements(node: NodeProto, producers: Dict[str, NodeProto], scope: types.Scope) -> int:
    total = 0
    for name in node.input:
        source = producers.get(name)
        stored = scope.constant(
            source.input[0] if source is not None and source.op_type == "DequantizeLinear" else name
        )
        total += weights.size(stored) if stored is not None else 0
    return total
