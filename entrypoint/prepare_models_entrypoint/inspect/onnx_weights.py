"""The weights of an ONNX model: how many, how large, and whether those that lie in other files are there."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Optional, Sequence

from ..contract.report import WarningInfo
from .onnx_types import dtype_name, text

_BITS = {
    "bool": 8, "string": None, "bfloat16": 16, "complex64": 64, "complex128": 128, "float8e8m0": 8,
}  # fmt: skip
_NUMBER = re.compile(r"(?:float|u?int)(\d+)")


@dataclass
class Weights:
    """A summary, each tensor, and what is wrong with files that tensors lie in."""

    summary: Dict[str, Any]
    tensors: List[Dict[str, Any]]
    warnings: List[WarningInfo]


def of_graph(graphs: Sequence[Any], directory: Path) -> Weights:
    """Return the weights of a graph and its subgraphs. ``directory``: where files with weights are looked for."""
    tensors = [_tensor(tensor) for graph in graphs for tensor in graph.initializer]
    tensors += [_tensor(sparse.values, sparse=True) for graph in graphs for sparse in graph.sparse_initializer]
    external: Dict[str, int] = {}
    for tensor in tensors:
        if tensor["location"] is not None:
            external[tensor["location"]] = max(external.get(tensor["location"], 0), tensor.pop("end"))
        else:
            tensor.pop("end")
    files = [_file(location, end, directory) for location, end in sorted(external.items())]
    known = [tensor["bytes"] for tensor in tensors if tensor["bytes"] is not None]
    summary = {"count": len(tensors), "bytes": sum(known), "files": files}
    return Weights(summary, tensors, [_warning(file) for file in files if file["problem"]])


def _tensor(tensor: Any, *, sparse: bool = False) -> Dict[str, Any]:
    dtype = dtype_name(tensor.data_type)
    dims = [int(dim) for dim in tensor.dims]
    size = _bytes(dtype, dims)
    location: Optional[str] = None
    end = 0
    if tensor.data_location == 1:  # EXTERNAL
        entries = {text(entry.key): text(entry.value) for entry in tensor.external_data}
        location = entries.get("location", "")
        end = _integer(entries.get("offset")) + (_integer(entries.get("length")) or size or 0)
    return {
        "name": text(tensor.name),
        "dtype": f"sparse_tensor({dtype})" if sparse else dtype,
        "shape": dims,
        "bytes": size,
        "location": location,
        "end": end,
    }


def _bytes(dtype: str, dims: Sequence[int]) -> Optional[int]:
    """Return the size of a tensor; None for text and for types that are not known here."""
    number = _NUMBER.match(dtype)
    bits = int(number.group(1)) if number else _BITS.get(dtype)
    return None if bits is None or any(dim < 0 for dim in dims) else math.ceil(_product(dims) * bits / 8)


def _product(dims: Sequence[int]) -> int:
    result = 1
    for dim in dims:
        result *= dim
    return result


def _integer(value: Optional[str]) -> int:
    return int(value) if value is not None and re.fullmatch("[0-9]{1,18}", value) else 0


def _file(location: str, end: int, directory: Path) -> Dict[str, Any]:
    """Judge a file with weights by its name and size; what lies outside of the model's directory is not looked at."""
    problem: Optional[str] = None
    path = PurePosixPath(location)
    if not location or path.is_absolute() or ".." in path.parts or "\0" in location:
        problem = "points outside of the model's directory"
    else:
        try:
            size = (directory / location).stat().st_size
            problem = f"has {size} of the {end} bytes that the model needs" if size < end else None
        except OSError as error:
            problem = f"can't be found: {error.strerror}"
    return {"location": location, "bytes": end, "problem": problem}


def _warning(file: Dict[str, Any]) -> WarningInfo:
    return WarningInfo(
        code="onnx-external-data",
        message=f"the weights file {file['location']!r} {file['problem']}",
        hint="keep the model's weights files beside the .onnx file, under their own names",
    )
