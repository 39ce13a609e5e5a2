"""Is a file a whole ONNX model? Told from protobuf's outermost fields alone: no library, no reading of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Set

from ..contract import wire
from ..contract.skeleton import mapped
from ..errors import ConvertError

WHOLE, TRUNCATED, OTHER = "whole", "truncated", "other"

# Fields of ModelProto with their wire types (0 varint, 2 bytes); 7 is the graph.
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH = 7
_MOST_FIELDS = 100_000


def verdict(path: Path) -> str:
    """Return whole, truncated (begins like a model and ends too early) or other."""
    with mapped(path) as view:
        return _walk(view)


def _walk(view: wire.View) -> str:
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


def check(path: Path) -> None:
    """Refuse a file that is no ONNX model or only the beginning of one."""
    found = verdict(path)
    size = path.stat().st_size
    if found == TRUNCATED:
        raise ConvertError(
            "onnx-invalid",
            f"{path.name} begins like an ONNX model and ends too early, after {size} bytes",
            hint="download or export the file again",
        )
    if found == OTHER:
        with open(str(path), "rb") as stream:
            head = stream.read(4096)
        if head and not any(head):
            raise ConvertError(
                "network-empty",
                f"{path.name} holds zeros and no network: {size} bytes",
                hint="the file was never filled: download or export it again",
            )
        raise ConvertError(
            "onnx-invalid",
            f"{path.name} is no ONNX model: {size} bytes, starting with {head[:4].hex() or 'nothing'}",
            hint="check that the file is complete and of this format; 'prepare-models inspect FILE' shows what it is",
        )
