"""Properties of a whole model: nodes, names, operators."""

from __future__ import annotations

from typing import Iterator, List

from onnx import ModelProto, NodeProto

from .walk import graphs

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN")


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes of all graphs."""
    for graph in graphs(model.graph):
        yield from graph.node


def has_qdq(model: ModelProto) -> bool:
    """Return whether the model contains quantization of its own."""
    return any(node.op_type in QUANTIZERS for node in nodes(model))


def tensor_names(model: ModelProto) -> List[str]:
    """Return the names of all inputs and node outputs."""
    names = [name for node in nodes(model) for name in node.output if name]
    return names + [value.name for graph in graphs(model.graph) for value in graph.input]


def opset(model: ModelProto) -> int:
    """Return the version of the standard operator set."""
    return max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=1)
