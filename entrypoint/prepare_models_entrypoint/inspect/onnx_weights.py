"""The weights of an ONNX model: how many, how large, and whether those in other files exist."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence

from onnx import GraphProto, TensorProto

from ..contract import external_data
from ..contract.external_errors import ExternalDataError
from ..contract.report import WarningInfo
from .isolated import Document
from .onnx_types import dtype_name, text


@dataclass
class Weights:
    """A summary, each tensor, and what is wrong with files that contain tensors."""

    summary: Document
    tensors: List[Document]
    warnings: List[WarningInfo]


def of_graph(graphs: Sequence[GraphProto], path: Path) -> Weights:
    """Return the weights of a graph and its subgraphs, and the files of all tensors of the model.

    Args:
        graphs: the graphs, as onnx messages.
        path: the model file.

    Raises:
        UnreadableError: it is unknown which files belong to the model.
    """
    tensors = [_tensor(tensor) for graph in graphs for tensor in graph.initializer]
    tensors += [_tensor(sparse.values, sparse=True) for graph in graphs for sparse in graph.sparse_initializer]
    ends: Dict[str, int] = {}
    for stored in external_data.tensors(path):
        ends[stored.location] = max(ends.get(stored.location, 0), stored.end)
    files = [_file(location, end, path) for location, end in sorted(ends.items())]
    known = [tensor["bytes"] for tensor in tensors if tensor["bytes"] is not None]
    summary = {"count": len(tensors), "bytes": sum(known), "files": files}
    return Weights(summary, tensors, [_warning(file) for file in files if file["problem"]])


def _tensor(tensor: TensorProto, *, sparse: bool = False) -> Document:
    dtype, dims = dtype_name(tensor.data_type), [int(dim) for dim in tensor.dims]
    named = {text(entry.key): text(entry.value) for entry in tensor.external_data} if tensor.data_location else {}
    return {
        "name": text(tensor.name),
        "dtype": f"sparse_tensor({dtype})" if sparse else dtype,
        "shape": dims,
        "bytes": external_data.tensor_bytes(tensor.data_type, dims),
        "location": named.get("location"),
    }


def _file(location: str, end: int, model: Path) -> Document:
    """Check the place and size of a file with weights."""
    problem = None
    try:
        size = external_data.resolve(model, location).stat().st_size
        if size < end:
            problem = f"has {size} of the {end} bytes that the model needs"
    except ExternalDataError as error:
        problem = error.why
    return {"location": location, "bytes": end, "problem": problem}


def _warning(file: Document) -> WarningInfo:
    return WarningInfo(
        code="onnx-external-data",
        message=f"the weights file {file['location']!r} {file['problem']}",
        hint="keep the model's weights files next to the .onnx file, under their own names",
    )
