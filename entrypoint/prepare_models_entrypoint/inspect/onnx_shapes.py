"""Shapes and types of outputs that a file omits, by ONNX's own inference."""

from __future__ import annotations

from typing import List, Optional

from onnx import ModelProto, shape_inference

from ..third_party import ThirdPartyError, third_party
from .isolated import Document
from .onnx_types import Dim, describe

# Larger tensors are weights; smaller ones may be shapes, which inference needs.
_LARGEST_SHAPE_BYTES = 4096
_DATA = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def infer(model: ModelProto, io: List[Document]) -> Optional[str]:
    """Fill in what ``io`` lacks; return a note if something stays unknown. The model loses its large weights."""
    _drop_weights(model)
    try:
        with third_party():
            inferred = shape_inference.infer_shapes(model, data_prop=True)
    except ThirdPartyError as error:
        return f"outputs without a shape can't be inferred: {error}"
    found = {value.name: describe(value.type) for value in inferred.graph.output}
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


def _drop_weights(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _LARGEST_SHAPE_BYTES:
            for field in _DATA:
                tensor.ClearField(field)
