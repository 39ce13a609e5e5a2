"""An ONNX file without its large weights: its structure, and where in the file each of those weights is.

Code that checks a model's structure need not read hundreds of megabytes of numbers. Protobuf's wire format is read as
far as needed for that: no library, no copies.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

# Smaller weights stay: shapes, scales and the like, which a parser computes with.
_SMALLEST = 64 << 10
_LARGEST_FILE = (2 << 30) - 1  # protobuf's limit: code that reads the whole file has to refuse a larger one
WHOLE, TRUNCATED, OTHER = "whole", "truncated", "other"

# Fields of ModelProto with their wire types (0 varint, 2 bytes); 7 is the graph.
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_MOST_OUTER = 100_000
_GRAPH, _INITIALIZER = 7, 5  # in ModelProto, in GraphProto
_FUNCTIONS = 25  # in ModelProto
_NAME, _RAW_DATA = 8, 9  # in TensorProto
View = Union[bytes, mmap.mmap]

_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10
_MOST_FIELDS = 200_000  # per message, far beyond any model: a file with more is not a model, and takes minutes to walk


class MalformedError(ValueError):
    """The bytes are not a protobuf message, or end within one."""


class Field(NamedTuple):
    """One field of a message: number, wire type, where it starts, and where its value starts and ends."""

    number: int
    wire: int
    start: int
    value: int
    end: int


def varint(view: View, at: int, end: int) -> Tuple[int, int]:
    """Return the number that starts at ``at``, and where it ends; both places are offsets in bytes.

    Raises:
        MalformedError: it does not end before ``end``.
    """
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= end:
            break
        byte = view[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value, at + index + 1
    raise MalformedError("a number has no end")


def fields(view: View, start: int, end: int, *, most: int = _MOST_FIELDS) -> Iterator[Field]:
    """Yield the fields of the message between ``start`` and ``end``, which may have at most ``most`` of them.

    Raises:
        MalformedError: the bytes are not a message, or it has more fields.
    """
    at = start
    for _ in range(most):
        if at >= end:
            return
        tag, value = varint(view, at, end)
        wire = tag & 7
        if tag >> 3 == 0:
            raise MalformedError("a field has the number 0")
        if wire == 0:
            _, stop = varint(view, value, end)
        elif wire == 2:
            size, value = varint(view, value, end)
            stop = value + size
        elif wire in _FIXED:
            stop = value + _FIXED[wire]
        else:
            raise MalformedError(f"wire type {wire}")
        if stop > end:
            raise MalformedError("a field ends outside of its message")
        yield Field(tag >> 3, wire, at, value, stop)
        at = stop
    if at < end:
        raise MalformedError("there are too many fields")


def message(number: int, body: bytes) -> bytes:
    """Return ``body`` encoded as field ``number`` of a message."""
    return prefix(number, len(body)) + body


def prefix(number: int, length: int) -> bytes:
    """Return the bytes that precede a body of ``length`` bytes encoded as field ``number`` of a message."""
    return _number(number << 3 | 2) + _number(length)


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Skeleton(NamedTuple):
    """model: serialized, without the values in ``weights``. weights: offset and length in the file by tensor name."""

    model: bytes
    weights: Dict[str, Tuple[int, int]]


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[View]:
    """Yield the file's bytes, which are read only as they are accessed.

    Raises:
        OSError: it can't be read, or is a pipe or a device.
    """
    with open(os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if not status.st_size:
            yield b""  # an empty file can't be mapped
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            yield view


def verdict(view: View) -> str:
    """Return what a file is, judged only by its outermost fields: ``WHOLE``, ``TRUNCATED`` or ``OTHER``.

    A truncated file begins like an ONNX model and ends too early.
    """
    seen: Set[int] = set()
    at, size = 0, len(view)
    for _ in range(_MOST_OUTER):
        if at == size:
            break
        try:
            tag, at = varint(view, at, size)
        except MalformedError:
            return TRUNCATED if _GRAPH in seen or 1 in seen else OTHER
        number, kind = tag >> 3, tag & 7
        if _FIELDS.get(number) != kind:
            return OTHER
        try:
            value, at = varint(view, at, size)
        except MalformedError:
            return TRUNCATED if seen else OTHER
        seen.add(number)
        if kind == 2:
            at += value
            if at > size:
                return TRUNCATED if 1 in seen or number == _GRAPH else OTHER
    return WHOLE if _GRAPH in seen else OTHER


def has_functions(view: View) -> bool:
    """Return whether a model has functions of its own."""
    try:
        return any(field.number == _FUNCTIONS for field in fields(view, 0, len(view)))
    except MalformedError:
        return False


def of(view: View) -> Optional[Skeleton]:
    """Return the skeleton of an ONNX file, or None if it has to be read as a whole."""
    if len(view) > _LARGEST_FILE:
        return None
    try:
        return _skeleton(view)
    except MalformedError:
        return None


def _skeleton(view: View) -> Optional[Skeleton]:
    parts: List[bytes] = []
    weights: Dict[str, Tuple[int, int]] = {}
    graphs = 0
    for field in fields(view, 0, len(view)):
        if (field.number, field.wire) != (_GRAPH, 2):
            parts.append(view[field.start : field.end])
            continue
        graphs += 1
        parts.append(message(_GRAPH, _graph(view, field, weights)))
    return Skeleton(b"".join(parts), weights) if graphs == 1 else None


def _graph(view: View, graph: Field, weights: Dict[str, Tuple[int, int]]) -> bytes:
    parts: List[bytes] = []
    for field in fields(view, graph.value, graph.end):
        large = (field.number, field.wire) == (_INITIALIZER, 2) and field.end - field.value >= _SMALLEST
        cut = _cut(view, field, weights) if large else None
        parts.append(view[field.start : field.end] if cut is None else message(_INITIALIZER, cut))
    return b"".join(parts)


def _cut(view: View, tensor: Field, weights: Dict[str, Tuple[int, int]]) -> Optional[bytes]:
    """Return a tensor without its values; None unless they are in one place under one name."""
    parts: List[bytes] = []
    names: List[bytes] = []
    raw: List[Field] = []
    for field in fields(view, tensor.value, tensor.end):
        if (field.number, field.wire) == (_RAW_DATA, 2):
            raw.append(field)
            continue
        if field.end - field.start >= _SMALLEST:
            return None  # values stored elsewhere than in raw_data
        parts.append(view[field.start : field.end])
        if (field.number, field.wire) == (_NAME, 2):
            names.append(view[field.value : field.end])
    name = names[0].decode("utf-8", "replace") if len(names) == 1 else ""
    if not name or name in weights or len(raw) != 1:
        return None
    weights[name] = (raw[0].value, raw[0].end - raw[0].value)
    return b"".join(parts)
