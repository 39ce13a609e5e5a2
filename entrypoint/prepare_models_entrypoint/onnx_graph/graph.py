"""What a whole model has: nodes, names, operators."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from .walk import graphs

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN")


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Yield the nodes of all graphs."""
    for graph in graphs(model.graph):
        yield from graph.node


def has_qdq(model: ModelProto) -> bool:
    """Tell whether the model carries its own quantization."""
    return any(node.op_type in QUANTIZERS for node in nodes(model))


def custom_operators(model: ModelProto) -> List[str]:
    """Return the operators outside the ONNX standard, sorted."""
    return sorted({node.op_type for node in nodes(model) if node.domain not in STANDARD_DOMAINS})


def tensor_names(model: ModelProto) -> List[str]:
    """Return the names of all inputs and node outputs."""
    names = [name for node in nodes(model) for name in node.output if name]
    return names + [value.name for graph in graphs(model.graph) for value in graph.input]


def opset(model: ModelProto) -> int:
    """Return the version of the standard operator set."""
    return max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=1)


class ElementTypes:
    """Element types of the tensors of a graph, told from initializers, inputs, casts and the nodes between them."""

    def __init__(self, graph: GraphProto, outer: Optional["ElementTypes"] = None) -> None:
        self._outer = outer
        self._types: Dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info):
            if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type:
                self._types.setdefault(value.name, value.type.tensor_type.elem_type)
        for node in graph.node:
            kind = self._of_node(node)
            for name in node.output:
                if kind is not None:
                    self._types.setdefault(name, kind)

    def get(self, name: str) -> Optional[int]:
        """Return the type of a tensor, or None where it can't be told."""
        if name in self._types:
            return self._types[name]
        return self._outer.get(name) if self._outer else None

    def _of_node(self, node: NodeProto) -> Optional[int]:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Cast":
            return int(attributes["to"].i) if "to" in attributes else None
        if node.op_type == "Constant" and "value" in attributes:
            return int(attributes["value"].t.data_type)
        if node.op_type == "ConstantOfShape":
            return int(attributes["value"].t.data_type) if "value" in attributes else int(TensorProto.FLOAT)
        if node.op_type in ("Shape", "Size", "ArgMax", "ArgMin", "NonZero"):
            return int(TensorProto.INT64)
        if node.op_type in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not"):
            return int(TensorProto.BOOL)
        if node.op_type == "QuantizeLinear":
            return self.get(node.input[2]) if len(node.input) > 2 and node.input[2] else int(TensorProto.UINT8)
        position = {"DequantizeLinear": 1, "Where": 1}.get(node.op_type, 0)
        return self.get(node.input[position]) if len(node.input) > position else None
