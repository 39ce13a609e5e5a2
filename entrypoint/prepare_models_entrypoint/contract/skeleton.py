"""An ONNX file without its large weights: its structure, and where in the file each of those weights is.

Code that checks a model's structure need not read hundreds of megabytes of numbers.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from . import wire

# Smaller weights stay: shapes, scales and the like, which a parser computes with.
_SMALLEST = 64 << 10
_LARGEST_FILE = (2 << 30) - 1  # protobuf's limit: code that reads the whole file has to refuse a larger one
WHOLE, TRUNCATED, OTHER = "whole", "truncated", "other"

# Fields of ModelProto with their wire types (0 varint, 2 bytes); 7 is the graph.
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_MOST_FIELDS = 100_000
_GRAPH, _INITIALIZER = 7, 5  # in ModelProto, in GraphProto
_FUNCTIONS = 25  # in ModelProto
_NAME, _RAW_DATA = 8, 9  # in TensorProto


class Skeleton(NamedTuple):
    """model: serialized, without the values in ``weights``. weights: offset and length in the file by tensor name."""

    model: bytes
    weights: Dict[str, Tuple[int, int]]


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[wire.View]:
    """Yield the file's bytes, which are read only as they are accessed.

    Raises:
        OSError: it can't be read, or is a pipe or a device.
    """
    descriptor = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        if not status.st_size:
            yield b""  # an empty file can't be mapped
            return
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as view:
            yield view
    finally:
        os.close(descriptor)


def verdict(view: wire.View) -> str:
    """Return what a file is, judged only by its outermost fields: ``WHOLE``, ``TRUNCATED`` or ``OTHER``.

    A truncated file begins like an ONNX model and ends too early.
    """
    seen: Set[int] = set()
    at, size = 0, len(view)
    for _ in range(_MOST_FIELDS):
        if at == size:
            break
        try:
            tag, at = wire.varint(view, at, size)
        except wire.MalformedError:
            return TRUNCATED if _GRAPH in seen or 1 in seen else OTHER
        number, kind = tag >> 3, tag & 7
        if _FIELDS.get(number) != kind:
            return OTHER
        try:
            value, at = wire.varint(view, at, size)
        except wire.MalformedError:
            return TRUNCATED if seen else OTHER
        seen.add(number)
        if kind == 2:
            at += value
            if at > size:
                return TRUNCATED if 1 in seen or number == _GRAPH else OTHER
    return WHOLE if _GRAPH in seen else OTHER


def has_functions(view: wire.View) -> bool:
    """Return whether a model has functions of its own."""
    try:
        return any(field.number == _FUNCTIONS for field in wire.fields(view, 0, len(view)))
    except wire.MalformedError:
        return False


def of(view: wire.View) -> Optional[Skeleton]:
    """Return the skeleton of an ONNX file, or None if it has to be read as a whole."""
    if len(view) > _LARGEST_FILE:
        return None
    try:
        return _skeleton(view)
    except wire.MalformedError:
        return None


def _skeleton(view: wire.View) -> Optional[Skeleton]:
    parts: List[bytes] = []
    weights: Dict[str, Tuple[int, int]] = {}
    graphs = 0
    for field in wire.fields(view, 0, len(view)):
        if (field.number, field.wire) != (_GRAPH, 2):
            parts.append(view[field.start : field.end])
            continue
        graphs += 1
        parts.append(wire.message(_GRAPH, _graph(view, field, weights)))
    return Skeleton(b"".join(parts), weights) if graphs == 1 else None


def _graph(view: wire.View, graph: wire.Field, weights: Dict[str, Tuple[int, int]]) -> bytes:
    parts: List[bytes] = []
    for field in wire.fields(view, graph.value, graph.end):
        large = (field.number, field.wire) == (_INITIALIZER, 2) and field.end - field.value >= _SMALLEST
        cut = _cut(view, field, weights) if large else None
        parts.append(view[field.start : field.end] if cut is None else wire.message(_INITIALIZER, cut))
    return b"".join(parts)


def _cut(view: wire.View, tensor: wire.Field, weights: Dict[str, Tuple[int, int]]) -> Optional[bytes]:
    """Return a tensor without its values; None unless they are in one place under one name."""
    parts: List[bytes] = []
    names: List[bytes] = []
    raw: List[wire.Field] = []
    for field in wire.fields(view, tensor.value, tensor.end):
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
