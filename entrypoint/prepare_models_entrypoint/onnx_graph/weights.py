"""Values of tensors. Large ones are mapped from the file in which they lie, and are never in memory as a whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np
from onnx import TensorProto, numpy_helper

from ..errors import ConvertError

Array = Any  # numpy's own generic type has another spelling in each version from 1.20 to 2.x

_DTYPES: Dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.BFLOAT16: np.uint16,
    TensorProto.INT8: np.int8,
    TensorProto.INT16: np.int16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.UINT8: np.uint8,
    TensorProto.UINT16: np.uint16,
    TensorProto.UINT32: np.uint32,
    TensorProto.UINT64: np.uint64,
    TensorProto.BOOL: np.bool_,
}
_KINDS = {np.dtype(dtype): kind for kind, dtype in _DTYPES.items() if kind != TensorProto.BFLOAT16}
_KINDS[np.dtype(np.uint16)] = TensorProto.UINT16


def array(tensor: TensorProto) -> Array:
    """Return the values; read-only and mapped where they lie in a file. bfloat16 comes as float32.

    Raises:
        ConvertError: the file has too few bytes.
    """
    if tensor.data_location == TensorProto.EXTERNAL:
        return _mapped(tensor)
    if tensor.data_type == TensorProto.BFLOAT16:
        bits = np.frombuffer(tensor.raw_data, "<u2") if tensor.HasField("raw_data") else np.array(tensor.int32_data)
        return _from_bfloat16(bits).reshape(tuple(tensor.dims))
    return numpy_helper.to_array(tensor)


def tensor(values: Array, name: str, kind: Optional[int] = None) -> TensorProto:
    """Return a tensor in memory. ``kind``: its element type where numpy's can't tell it (BFLOAT16)."""
    made = TensorProto()
    fill(made, values, name, kind)
    return made


def fill(made: TensorProto, values: Array, name: str, kind: Optional[int] = None) -> None:
    """Write values into an empty tensor of a graph: no copy of the message is made."""
    values = np.asarray(values)
    made.name = name
    made.data_type = _KINDS[values.dtype] if kind is None else kind
    made.dims.extend(values.shape)
    if made.data_type == TensorProto.BFLOAT16:
        values = to_bfloat16(values)
    made.raw_data = np.ascontiguousarray(values).tobytes()


def size(tensor: TensorProto) -> int:
    """Return how many elements a tensor has."""
    return math.prod(tensor.dims)


def nbytes(tensor: TensorProto) -> int:
    """Return how many bytes the values of a tensor that lies in a file take."""
    return range_of(tensor)[2]


def refer(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    """Make a tensor refer to bytes of a file, by its absolute path."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", str(path)), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def range_of(tensor: TensorProto) -> Tuple[str, int, int]:
    """Return location, offset and length of the values of a tensor that lies in a file.

    Raises:
        ConvertError: its entries are no numbers, or don't fit its shape.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    dtype = _DTYPES.get(tensor.data_type)
    needed = size(tensor) * np.dtype(dtype).itemsize if dtype is not None else 0
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or needed)
    except ValueError as error:
        raise broken(tensor, str(error)) from None
    if offset < 0 or length < 0 or (dtype is not None and length != needed):
        raise broken(tensor, f"{length} bytes at {offset} are given for {needed} of its shape")
    return entries.get("location", ""), offset, length


def broken(tensor: TensorProto, why: str) -> ConvertError:
    """Return the error that weights in a file are not what the model says."""
    return ConvertError(
        "onnx-external-data",
        f"the weights {tensor.name!r}: {why}",
        hint="download the weights files of the model, too, and keep them in its folder under their own names",
    )


def _mapped(tensor: TensorProto) -> Array:
    location, offset, length = range_of(tensor)
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None or not length:
        return numpy_helper.to_array(_in_memory(tensor, location, offset, length))
    try:
        values = np.memmap(location, np.dtype(dtype).newbyteorder("<"), "r", offset, tuple(tensor.dims))
    except (OSError, ValueError) as error:
        raise broken(tensor, str(error)) from error
    return _from_bfloat16(values) if tensor.data_type == TensorProto.BFLOAT16 else values


def bring(tensor: TensorProto) -> None:
    """Bring the values of a tensor that lies in a file into memory, in place."""
    whole = _in_memory(tensor, *range_of(tensor))
    tensor.CopyFrom(whole)


def _in_memory(tensor: TensorProto, location: str, offset: int, length: int) -> TensorProto:
    copy = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    with open(location, "rb") as stream:
        stream.seek(offset)
        copy.raw_data = stream.read(length)
    return copy


def _from_bfloat16(bits: Array) -> Array:
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values: Array) -> Array:
    """Return float32 values as the bits of bfloat16, rounded to nearest even as hardware does."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)
