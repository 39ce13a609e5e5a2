"""Properties of a whole model: nodes, names, operators."""

from __future__ import annotations

import fnmatch
from typing import Dict, Iterator, List, Sequence

from onnx import ModelProto, NodeProto, shape_inference

from .walk import graphs

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_LARGEST_INFERRED = 1 << 30  # bytes
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


def asked_in_fp32(model: ModelProto, patterns: Sequence[str]) -> Dict[str, str]:
    """Return the nodes that the manifest keeps in fp32 by ``patterns`` of names, with the reasons."""
    found = {}
    for node in nodes(model):
        pattern = next((each for each in patterns if fnmatch.fnmatchcase(node.name, each)), None)
        if pattern is not None:
            found[node.name] = f"keep_fp32: {pattern}"
    return found


def inferred(model: ModelProto, *, data_prop: bool = False) -> ModelProto:
    """Return the model with the shapes that ONNX infers, or the model itself if it is too large for that."""
    return shape_inference.infer_shapes(model, data_prop=data_prop) if model.ByteSize() < _LARGEST_INFERRED else model


def opset(model: ModelProto) -> int:
    """Return the version of the standard operator set."""
    return max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=1)
