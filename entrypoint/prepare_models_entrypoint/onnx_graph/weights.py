"""Values of tensors. Large ones are mapped from their file, and are never in memory as a whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from ..contract import external_data
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
_KIND = "prepare-models.stored"  # a key of ours among those of external data; written files never contain it
_CHUNK = 1 << 22


def array(tensor: TensorProto) -> Array:
    """Return the values, read-only and mapped if they are in a file. bfloat16 is returned as float32.

    Raises:
        ConvertError: the file is too short.
    """
    if tensor.data_location == TensorProto.EXTERNAL:
        return _mapped(tensor)
    if tensor.data_type == TensorProto.BFLOAT16:
        bits = np.frombuffer(tensor.raw_data, "<u2") if tensor.HasField("raw_data") else np.array(tensor.int32_data)
        return _from_bfloat16(bits).reshape(tuple(tensor.dims))
    return numpy_helper.to_array(tensor)


def chunks(tensor: TensorProto) -> "Iterator[bytes | memoryview]":
    """Yield the bytes of a large tensor piece by piece."""
    if tensor.data_location != TensorProto.EXTERNAL:
        yield tensor.raw_data
        return
    if _stored_kind(tensor) != tensor.data_type:
        values = _stored(tensor).reshape(-1)
        for start in range(0, values.size, _CHUNK):
            yield memoryview(_bits(values[start : start + _CHUNK], tensor.data_type)).cast("B")
        return
    location, offset, left = range_of(tensor)
    with open(location, "rb") as source:
        source.seek(offset)
        while left:
            chunk = source.read(min(left, _CHUNK))
            if not chunk:
                raise broken(tensor, f"{location} became shorter")
            yield chunk
            left -= len(chunk)


def tensor(values: Array, name: str, kind: Optional[int] = None) -> TensorProto:
    """Return a tensor in memory. ``kind``: its element type if numpy has no such type (BFLOAT16)."""
    made = TensorProto()
    fill(made, values, name, kind)
    return made


def converted(tensor: TensorProto, kind: int) -> TensorProto:
    """Return a tensor with the same values in another type."""
    return numpy_helper.from_array(array(tensor).astype(_DTYPES[kind]), tensor.name)


def fill(made: TensorProto, values: Array, name: str, kind: Optional[int] = None) -> None:
    """Write values into an empty tensor of a graph, without copying the message."""
    values = np.asarray(values)
    made.name = name
    made.data_type = helper.np_dtype_to_tensor_dtype(values.dtype) if kind is None else kind
    made.dims.extend(values.shape)
    made.raw_data = _bits(values, made.data_type).tobytes()


def add(graph: GraphProto, values: Array, name: str) -> str:
    """Give a graph an initializer, and return its name."""
    fill(graph.initializer.add(), values, name)
    return name


def round_into(made: TensorProto, source: TensorProto, name: str, kind: int) -> None:
    """Write the float values of ``source``, rounded to a narrower type, into an empty tensor.

    Values in a file stay there and are rounded whenever they are read.
    """
    if source.data_location != TensorProto.EXTERNAL:
        fill(made, array(source), name, kind)
        return
    made.name, made.data_type = name, kind
    made.dims.extend(source.dims)
    location, offset, length = range_of(source)
    refer(made, Path(location), offset, length)
    entry = made.external_data.add()
    entry.key, entry.value = _KIND, str(source.data_type)


def rounded(values: Array, kind: int) -> Array:
    """Return float values rounded to FLOAT16, or to BFLOAT16 and as float32."""
    if kind == TensorProto.BFLOAT16:
        return _from_bfloat16(to_bfloat16(values))
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(values).astype(np.float16)


def _bits(values: Array, kind: int) -> Array:
    """Return values in the form that files have for this element type."""
    values = rounded(values, kind) if kind == TensorProto.FLOAT16 else np.asarray(values)
    if kind == TensorProto.BFLOAT16:
        values = to_bfloat16(values)
    return np.ascontiguousarray(values)


def size(tensor: TensorProto) -> int:
    """Return how many elements a tensor has."""
    count: int = math.prod(tensor.dims)
    return count


def nbytes(tensor: TensorProto) -> int:
    """Return how many bytes the values of a large tensor take."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return len(tensor.raw_data)
    if _stored_kind(tensor) != tensor.data_type:
        return size(tensor) * int(np.dtype(_DTYPES[tensor.data_type]).itemsize)
    return range_of(tensor)[2]


def refer(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    """Make a tensor refer to bytes of a file by its absolute path. ``offset``, ``length``: in bytes."""
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", str(path)), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _stored_kind(tensor: TensorProto) -> int:
    """Return the element type of the values in the file; it differs if they are rounded on reading."""
    for entry in tensor.external_data:
        if entry.key == _KIND:
            return int(entry.value)
    return int(tensor.data_type)


def range_of(tensor: TensorProto) -> Tuple[str, int, int]:
    """Return location, offset and length (in bytes) of the values of a tensor that is in a file.

    Raises:
        ConvertError: its entries are not numbers, or don't fit its shape.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    kind = _stored_kind(tensor)
    needed = external_data.tensor_bytes(kind, tensor.dims) or 0
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or needed)
    except ValueError as error:
        raise broken(tensor, str(error)) from None
    if offset < 0 or length < 0 or (kind in _DTYPES and length != needed):
        raise broken(tensor, f"{length} bytes at {offset} are given for {needed} of its shape")
    return entries.get("location", ""), offset, length


def broken(tensor: TensorProto, why: str) -> ConvertError:
    """Return the error for weights in a file that are not what the model says."""
    return ConvertError(
        "onnx-external-data",
        f"the weights {tensor.name!r}: {why}",
        hint="download the weights files of the model, too, and keep them in its folder under their own names",
    )


def _mapped(tensor: TensorProto) -> Array:
    if tensor.data_type not in _DTYPES or not size(tensor):
        return numpy_helper.to_array(_in_memory(tensor))
    values = _stored(tensor)
    stored = _stored_kind(tensor)
    if stored == TensorProto.BFLOAT16:
        return _from_bfloat16(values)
    return values if stored == tensor.data_type else rounded(values, tensor.data_type)


def _stored(tensor: TensorProto) -> Array:
    """Map the values as stored in the file."""
    location, offset, _ = range_of(tensor)
    dtype = np.dtype(_DTYPES[_stored_kind(tensor)]).newbyteorder("<")
    try:
        return np.memmap(location, dtype, "r", offset, tuple(tensor.dims))
    except (OSError, ValueError) as error:
        raise broken(tensor, str(error)) from error


def bring(tensor: TensorProto) -> None:
    """Load the values of a tensor from its file into memory, in place."""
    tensor.CopyFrom(_in_memory(tensor))


def head(tensor: TensorProto) -> TensorProto:
    """Return a tensor without its values."""
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def _in_memory(tensor: TensorProto) -> TensorProto:
    copy = head(tensor)
    copy.raw_data = b"".join(chunks(tensor))
    return copy


def _from_bfloat16(bits: Array) -> Array:
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values: Array) -> Array:
    """Return float32 values as the bits of bfloat16, rounded to nearest even as hardware does."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    short = rounded.astype(np.uint16)
    short[np.isnan(values)] = 0x7FC0
    return short
