"""How much each layer computes, in multiply-accumulates."""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Tuple

from onnx import ModelProto, NodeProto

from .graph import COMPUTE
from .walk import attributes

Shape = Tuple[int, ...]


def of_layers(model: ModelProto, shapes: Mapping[str, Shape]) -> Dict[str, int]:
    """Return the number for each compute layer of the outermost graph, by the node's name.

    Args:
        model: its nodes named.
        shapes: of tensors, by name; a layer without them is left out.
    """
    known = {**{tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}, **shapes}
    return {
        node.name: _of(node, [known.get(name, ()) for name in node.input[:3]], known[node.output[0]])
        for node in model.graph.node
        if node.op_type in COMPUTE and {*filter(None, node.input[:3]), node.output[0]} <= known.keys()
    }


def _of(node: NodeProto, read: List[Shape], made: Shape) -> int:
    if node.op_type == "Conv":
        return math.prod(made) * math.prod(read[1][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(read[0]) * math.prod(read[1][1:])
    if node.op_type in ("MatMul", "Gemm"):
        return math.prod(made) * read[0][0 if attributes(node).get("transA") else -1]
    if node.op_type == "Einsum":
        terms = attributes(node)["equation"].decode().replace(" ", "").split("->")[0].split(",")
        return math.prod({each: size for term, shape in zip(terms, read) for each, size in zip(term, shape)}.values())
    return math.prod(read[0][:2]) * sum(math.prod(shape) for shape in read[1:])  # once for each step and sample
