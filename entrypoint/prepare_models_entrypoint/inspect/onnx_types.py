"""Types of ONNX values in words: element types by NumPy's names, shapes with the names of dynamic dimensions."""

from __future__ import annotations

from typing import List, Optional, Tuple, Union

import onnx
from onnx import TensorShapeProto, TypeProto, ValueInfoProto

from ..contract.report import Binding

Dim = Union[int, str, None]
Shaped = Union[TypeProto.Tensor, TypeProto.SparseTensor]

_NAMES = {"float": "float32", "double": "float64"}


def text(value: Union[str, bytes]) -> str:
    """Return a protobuf string as text: the library returns bytes if it is not UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def dtype_name(number: int) -> str:
    """Return the name of an element type; one newer than the installed onnx has none."""
    try:
        name: str = onnx.TensorProto.DataType.Name(number).lower()
    except ValueError:
        return f"type {number}"
    return "unknown" if name == "undefined" else _NAMES.get(name, name)


def dims_of(tensor: Shaped) -> Optional[List[Dim]]:
    """Return dimensions: a number, the name of a dynamic one, or None; None for all if the rank is unknown."""
    if not tensor.HasField("shape"):
        return None
    return [_dim(dim) for dim in tensor.shape.dim]


def _dim(dim: TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return (text(dim.dim_param) or None) if dim.HasField("dim_param") else None


def describe(kind: TypeProto) -> Tuple[str, Optional[List[Dim]]]:
    """Return the type of a value and, if it is a tensor, its dimensions."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return dtype_name(kind.tensor_type.elem_type), dims_of(kind.tensor_type)
    if which == "sparse_tensor_type":
        return f"sparse_tensor({dtype_name(kind.sparse_tensor_type.elem_type)})", dims_of(kind.sparse_tensor_type)
    if which == "sequence_type":
        return f"sequence({_nested(kind.sequence_type.elem_type)})", None
    if which == "optional_type":
        return f"optional({_nested(kind.optional_type.elem_type)})", None
    if which == "map_type":
        return f"map({dtype_name(kind.map_type.key_type)}, {_nested(kind.map_type.value_type)})", None
    return ("opaque" if which == "opaque_type" else "unknown"), None


def _nested(kind: TypeProto) -> str:
    name, dims = describe(kind)
    return name if dims is None else f"{name}{shape_text(dims)}"


def shape_text(dims: List[Dim]) -> str:
    """Return dimensions as a tuple; a dynamic one is its name in quotes, or -1."""
    return repr(tuple(-1 if dim is None else dim for dim in dims))


def binding(value: ValueInfoProto, mode: str) -> Binding:
    """Return a value of the graph as a binding, with -1 for dynamic dimensions and no shape for an unknown rank."""
    name, dims = describe(value.type)
    shape = [dim if isinstance(dim, int) else -1 for dim in dims or ()]
    return Binding(name=text(value.name), mode=mode, dtype=name, shape=shape, profiles=[], source="network")
