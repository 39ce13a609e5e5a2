"""An ONNX file without its large weights: its structure, and where in the file each of those weights lies.

What judges a model by its structure has no need to read hundreds of megabytes of numbers.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from . import wire

# Smaller ones stay where they are: shapes, scales and the like, which a parser computes with.
_SMALLEST = 64 << 10
_LARGEST_FILE = (2 << 30) - 1  # what protobuf reads: a larger file has to be refused by whoever reads it whole
_GRAPH, _INITIALIZER = 7, 5  # in ModelProto, in GraphProto
_NAME, _RAW_DATA = 8, 9  # in TensorProto


@dataclass(frozen=True)
class Skeleton:
    """model: serialized, without the values in ``weights``. weights: offset and length in the file by tensor name."""

    model: bytes
    weights: Dict[str, Tuple[int, int]]


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[wire.View]:
    """Yield the file's bytes, read as far as they are looked at."""
    with open(str(path), "rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            yield b""  # what is empty can't be mapped
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            yield view


def of(view: wire.View) -> Optional[Skeleton]:
    """Return the skeleton of an ONNX file, None where it has to be read as a whole."""
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
    """Return a tensor without its values, None where they are not in one place under one name."""
    parts: List[bytes] = []
    names: List[bytes] = []
    raw: List[wire.Field] = []
    for field in wire.fields(view, tensor.value, tensor.end):
        if (field.number, field.wire) == (_RAW_DATA, 2):
            raw.append(field)
            continue
        if field.end - field.start >= _SMALLEST:
            return None  # values of another kind than raw_data
        parts.append(view[field.start : field.end])
        if (field.number, field.wire) == (_NAME, 2):
            names.append(view[field.value : field.end])
    name = names[0].decode("utf-8", "replace") if len(names) == 1 else ""
    if not name or name in weights or len(raw) != 1:
        return None
    weights[name] = (raw[0].value, raw[0].end - raw[0].value)
    return b"".join(parts)
