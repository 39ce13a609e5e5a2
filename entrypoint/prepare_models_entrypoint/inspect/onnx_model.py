"""What an ONNX file contains, but for the values of its weights. Only read in a separate process (``isolated``).

Element types have NumPy's names, shapes the names of dynamic dimensions.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple, Union

import onnx.shape_inference
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto

from ..contract import external_data
from ..contract.external_errors import ExternalDataError
from ..contract.report import Binding, WarningInfo
from ..errors import InspectError
from ..onnx_graph.walk import graphs
from ..third_party import ThirdPartyError, third_party
from .isolated import Document, Tell

Dim = Union[int, str, None]
Shaped = Union[TypeProto.Tensor, TypeProto.SparseTensor]

_LONGEST_TEXT = 1000
_NAMES = {"float": "float32", "double": "float64"}
# Larger tensors are weights; smaller ones may be shapes, which inference needs.
_LARGEST_SHAPE_BYTES = 4096
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def read(path: Path, tell: Tell, *, layers: bool, weights: bool) -> None:
    """Report what the model is, and again with inferred shapes if outputs have none.

    Raises:
        InspectError: it is not a readable ONNX model, or it is empty.
        UnreadableError: it is unknown which files belong to it.
    """
    try:
        model = ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise InspectError(
            "onnx-invalid",
            f"{path.name} is not an ONNX model: {error}",
            hint="check that the file is complete; graphs nested more than 30 levels deep can't be read either",
        ) from error
    document = _describe(model, path, layers=layers, weights=weights)
    if not document["io"]:
        raise InspectError("network-empty", f"{path.name} has no inputs and no outputs", hint="check the export")
    outputs = [value for value in document["io"] if value["mode"] == "output"]
    if all(value["dtype"] != "unknown" and (value["shape"] is not None or "(" in value["dtype"]) for value in outputs):
        tell(document)
        return
    tell({**document, "note": "outputs without a shape: inferring them did not finish"})
    document["note"] = _infer(model, document["io"])
    tell(document)


def bindings(model: ModelProto) -> List[Binding]:
    """Return the inputs that have no value of their own, and the outputs."""
    return [_binding(value, mode) for mode, value in _values(model.graph)]


def _describe(model: ModelProto, path: Path, *, layers: bool, weights: bool) -> Document:
    graph = model.graph
    every = list(graphs(graph))
    tensors = [_tensor(tensor) for each in every for tensor in each.initializer]
    tensors += [_tensor(sparse.values, sparse=True) for each in every for sparse in each.sparse_initializer]
    operators = collections.Counter(_operator(node) for each in every for node in each.node)
    files = _files(path)
    producer = f"{_text(model.producer_name)} {_text(model.producer_version)}".strip()
    document: Document = {
        "format": "onnx",
        "name": _text(graph.name),
        "io": [_value(value, mode) for mode, value in _values(graph)],
        "opsets": {_text(item.domain) or "ai.onnx": item.version for item in model.opset_import},
        "ir_version": model.ir_version,
        "producer": producer or None,
        "nodes": len(graph.node),
        "operators": dict(sorted(operators.items())),
        "functions": [f"{_text(item.domain)}::{_text(item.name)}" for item in getattr(model, "functions", ())],
        "training": len(model.training_info) > 0,
        "metadata": {_text(item.key): _text(item.value)[:_LONGEST_TEXT] for item in model.metadata_props},
        "weights": {"count": len(tensors), "bytes": sum(each["bytes"] or 0 for each in tensors), "files": files},
        "warnings": [_warning(file) for file in files if file["problem"]] + _duplicates(graph),
        "note": None,
    }
    if weights:
        document["weights"]["tensors"] = tensors
    if layers:
        document["layers"] = [_layer(node) for node in graph.node]
    return document


def _values(graph: GraphProto) -> Iterator[Tuple[str, ValueInfoProto]]:
    in_the_file = {each.name for each in graph.initializer} | {each.values.name for each in graph.sparse_initializer}
    yield from (("input", value) for value in graph.input if value.name not in in_the_file)
    yield from (("output", value) for value in graph.output)


def _value(value: ValueInfoProto, mode: str) -> Document:
    _, dims = _typed(value.type)
    document: Document = {**_binding(value, mode), "dims": dims, "inferred": False}
    if dims is None:
        document["shape"] = None
    return document


def _operator(node: NodeProto) -> str:
    domain = _text(node.domain)
    return f"{domain}::{_text(node.op_type)}" if domain not in ("", "ai.onnx") else _text(node.op_type)


def _layer(node: NodeProto) -> Document:
    return {
        "name": _text(node.name),
        "type": _operator(node),
        "precision": None,
        "inputs": [_text(name) for name in node.input],
        "outputs": [_text(name) for name in node.output],
    }


def _duplicates(graph: GraphProto) -> List[WarningInfo]:
    found: List[WarningInfo] = []
    for mode, values in (("input", graph.input), ("output", graph.output)):
        names = collections.Counter(value.name for value in values)
        twice = [str(name) or "(no name)" for name, count in names.items() if count > 1 or not name]
        if twice:
            message = f"{mode} names that are empty or repeat: {', '.join(twice)}"
            found.append(WarningInfo(code="onnx-names", message=message, hint="give every value a unique name"))
    return found


def _text(value: Union[str, bytes]) -> str:
    """Return a protobuf string as text: the library returns bytes if it is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _dtype_name(number: int) -> str:
    """Return the name of an element type; one newer than the installed onnx has none."""
    try:
        name: str = TensorProto.DataType.Name(number).lower()
    except ValueError:
        return f"type {number}"
    return "unknown" if name == "undefined" else _NAMES.get(name, name)


def _dims(tensor: Shaped) -> Optional[List[Dim]]:
    """Return dimensions: a number, the name of a dynamic one, or None; None for all if the rank is unknown."""
    if not tensor.HasField("shape"):
        return None
    return [_dim(dim) for dim in tensor.shape.dim]


def _dim(dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return (_text(dim.dim_param) or None) if dim.HasField("dim_param") else None


def _typed(kind: TypeProto) -> Tuple[str, Optional[List[Dim]]]:
    """Return the type of a value and, if it is a tensor, its dimensions."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return _dtype_name(kind.tensor_type.elem_type), _dims(kind.tensor_type)
    if which == "sparse_tensor_type":
        return f"sparse_tensor({_dtype_name(kind.sparse_tensor_type.elem_type)})", _dims(kind.sparse_tensor_type)
    if which == "sequence_type":
        return f"sequence({_nested(kind.sequence_type.elem_type)})", None
    if which == "optional_type":
        return f"optional({_nested(kind.optional_type.elem_type)})", None
    if which == "map_type":
        return f"map({_dtype_name(kind.map_type.key_type)}, {_nested(kind.map_type.value_type)})", None
    return ("opaque" if which == "opaque_type" else "unknown"), None


def _nested(kind: TypeProto) -> str:
    name, dims = _typed(kind)
    return name if dims is None else f"{name}{tuple(-1 if dim is None else dim for dim in dims)!r}"


def _binding(value: ValueInfoProto, mode: str) -> Binding:
    """Return a value of the graph as a binding, with -1 for dynamic dimensions and no shape for an unknown rank."""
    name, dims = _typed(value.type)
    shape = [dim if isinstance(dim, int) else -1 for dim in dims or ()]
    return Binding(name=_text(value.name), mode=mode, dtype=name, shape=shape, profiles=[], source="network")


def _infer(model: ModelProto, io: List[Document]) -> Optional[str]:
    """Fill in what ``io`` lacks; return a note if something stays unknown. The model loses its large weights."""
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _LARGEST_SHAPE_BYTES:
            for field in _DATA:
                tensor.ClearField(field)
    try:
        with third_party():
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except ThirdPartyError as error:
        return f"outputs without a shape can't be inferred: {error}"
    found = {value.name: _typed(value.type) for value in inferred.graph.output}
    for value in io:
        dtype, dims = found.get(value["name"], ("unknown", None))
        if value["mode"] == "output" and value["dtype"] in ("unknown", dtype):
            _complete(value, dtype, dims)
    unknown = [value["name"] for value in io if value["dtype"] == "unknown"]
    return f"types that the file leaves open: {', '.join(unknown)}" if unknown else None


def _complete(value: Document, dtype: str, dims: Optional[List[Dim]]) -> None:
    if value["dtype"] == "unknown" and dtype != "unknown":
        value["dtype"], value["inferred"] = dtype, True
    if value["shape"] is None and dims is not None:
        value["dims"], value["inferred"] = dims, True
        value["shape"] = [dim if isinstance(dim, int) else -1 for dim in dims]


def _tensor(tensor: TensorProto, *, sparse: bool = False) -> Document:
    dtype, dims = _dtype_name(tensor.data_type), [int(dim) for dim in tensor.dims]
    named = {_text(entry.key): _text(entry.value) for entry in tensor.external_data} if tensor.data_location else {}
    return {
        "name": _text(tensor.name),
        "dtype": f"sparse_tensor({dtype})" if sparse else dtype,
        "shape": dims,
        "bytes": external_data.tensor_bytes(tensor.data_type, dims),
        "location": named.get("location"),
    }


def _files(model: Path) -> List[Document]:
    """Return the files with tensors of a model, each with what is wrong with its place or size."""
    ends: Dict[str, int] = {}
    for stored in external_data.tensors(model):
        ends[stored.location] = max(ends.get(stored.location, 0), stored.end)
    found: List[Document] = []
    for location, end in sorted(ends.items()):
        try:
            size = external_data.resolve(model, location).stat().st_size
            problem = f"has {size} of the {end} bytes that the model needs" if size < end else None
        except ExternalDataError as error:
            problem = error.why
        found.append({"location": location, "bytes": end, "problem": problem})
    return found


def _warning(file: Document) -> WarningInfo:
    return WarningInfo(
        code="onnx-external-data",
        message=f"the weights file {file['location']!r} {file['problem']}",
        hint="keep the model's weights files next to the .onnx file, under their own names",
    )
