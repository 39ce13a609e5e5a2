"""Which precision the compute layers of a graph have, counted from the graph itself."""

from __future__ import annotations

from typing import Dict, List, Optional

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from ..converters.precision import ORDER, Evidence
from . import graph as graphs_

_NAMES: Dict[int, str] = {TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
_QUANTIZED: Dict[int, str] = {
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.FLOAT8E4M3FN: "fp8",
}


def of_graph(model: ModelProto) -> Evidence:
    """Return layers and weights by precision. A model without compute layers is counted by its nodes."""
    found = _Count()
    found.graph(model.graph, None, graphs_.COMPUTE)
    if not found.layers:
        found.graph(model.graph, None, None)
    known = [name for name in ORDER if name in found.layers]
    return Evidence(
        "graph",
        {name: found.layers[name] for name in known},
        {name: found.weights[name] for name in known if name in found.weights},
    )


class _Count:
    def __init__(self) -> None:
        self.layers: Dict[str, int] = {}
        self.weights: Dict[str, int] = {}

    def graph(
        self, graph: GraphProto, outer: "Optional[graphs_.ElementTypes]", operators: "Optional[tuple[str, ...]]"
    ) -> None:
        types = graphs_.ElementTypes(graph, outer)
        producers = {name: node for node in graph.node for name in node.output}
        sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
        for node in graph.node:
            for body in graphs_.subgraphs(node):
                self.graph(body, types, operators)
            if node.op_type in (operators or (node.op_type,)) and node.op_type not in graphs_.QUANTIZERS:
                name = _precision(node, types, producers)
                self.layers[name] = self.layers.get(name, 0) + 1
                self.weights[name] = self.weights.get(name, 0) + _elements(node, producers, sizes)


def _precision(node: NodeProto, types: graphs_.ElementTypes, producers: Dict[str, NodeProto]) -> str:
    sources = [producers.get(name) for name in node.input[:2] if name]
    dequantized: List[NodeProto] = [
        source for source in sources if source is not None and source.op_type == "DequantizeLinear"
    ]
    if sources and len(dequantized) == len(sources):
        return _QUANTIZED.get(types.get(dequantized[0].input[0]) or 0, "int8")
    return next((_NAMES[kind] for kind in map(types.get, node.input) if kind in _NAMES), "fp32")


def _elements(node: NodeProto, producers: Dict[str, NodeProto], sizes: Dict[str, int]) -> int:
    total = 0
    for name in node.input:
        source = producers.get(name)
        total += sizes.get(source.input[0] if source is not None and source.op_type == "DequantizeLinear" else name, 0)
    return total
