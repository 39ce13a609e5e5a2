"""ONNX graphs as this stage needs them: loading with clear errors, walking subgraphs, knowing element types."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, List, Optional

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, external_data_helper

from ..contract import external_data, skeleton
from ..errors import ConvertError

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
COMPUTE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN")
_PROTOBUF_LIMIT = (2 << 30) - (64 << 20)


def load(path: Path, *, weights: bool = True) -> ModelProto:
    """Read a model; without ``weights``, the values of the large ones are missing.

    Raises:
        ConvertError: it is not an ONNX model.
        ExternalDataError: weights in other files are missing, or are elsewhere than they may be.
    """
    try:
        model = onnx.load(str(path), load_external_data=False) if weights else _structure(path)
    except Exception as error:  # protobuf raises its own types, and which ones differs between its versions
        raise ConvertError(
            "onnx-invalid", f"the model can't be read: {error}", hint="check that the file is a complete ONNX model"
        ) from error
    external_data.check(path)
    if weights:
        for tensor in _tensors(model.graph):
            _bring(tensor, path)
    return model


def _bring(tensor: TensorProto, model: Path) -> None:
    """Bring the values of a tensor into memory. onnx itself refuses links, which download caches consist of."""
    if not external_data_helper.uses_external_data(tensor):
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    with external_data.resolve(model, entries["location"]).open("rb") as stream:
        stream.seek(int(entries.get("offset", "0")))
        tensor.raw_data = stream.read(int(entries["length"])) if "length" in entries else stream.read()
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _structure(path: Path) -> ModelProto:
    with skeleton.mapped(path) as view:
        found = skeleton.of(view)
    if found is None:
        return onnx.load(str(path), load_external_data=False)
    model: ModelProto = ModelProto.FromString(found.model)
    return model


def save(model: ModelProto, path: Path) -> None:
    """Write a model, with its weights in a file beside it where protobuf can't hold them."""
    if model.ByteSize() < _PROTOBUF_LIMIT:
        onnx.save(model, str(path))
        return
    onnx.save(model, str(path), save_as_external_data=True, location=f"{path.name}.weights")


def subgraphs(node: NodeProto) -> List[GraphProto]:
    """Return the bodies that a node carries (If, Loop, Scan)."""
    found: List[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            found.extend(attribute.graphs)
    return found


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and every graph within it."""
    yield graph
    for node in graph.node:
        for body in subgraphs(node):
            yield from graphs(body)


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


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for each in graphs(graph):
        yield from each.initializer
        for node in each.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield attribute.t


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
