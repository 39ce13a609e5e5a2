"""Reading and writing model files of any size. Large weights are copied from file to file, not through memory."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from ..contract import external_data, skeleton
from ..contract.files import naming
from ..errors import ConvertError
from . import weights

_LARGEST_FILE = (2 << 30) - (64 << 20)  # protobuf's limit, with room for everything but weights
_SMALLEST_MAPPED = 64 << 10
_ALIGNMENT = 4096
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # in ModelProto, GraphProto, TensorProto


def load(path: Path) -> ModelProto:
    """Read a model. Large weights stay in their files; their tensors refer to these by absolute paths.

    Small ones, such as the sizes of a Reshape, are read from wherever they are.

    Raises:
        ConvertError: it is not an ONNX model.
        ExternalDataError: weights in other files are missing, or outside the allowed directories.
    """
    path = Path(os.path.abspath(str(path)))
    try:
        model, cut = _structure(path)
    except DecodeError as error:
        raise ConvertError(
            "onnx-invalid", f"the model can't be read: {error}", hint="check that the file is a complete ONNX model"
        ) from error
    external_data.check(path)
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            location, offset, length = weights.range_of(tensor)
            weights.refer(tensor, external_data.resolve(path, location), offset, length)
            if length < _SMALLEST_MAPPED:
                weights.bring(tensor)
    for tensor in model.graph.initializer:
        if tensor.name in cut and not tensor.HasField("raw_data") and tensor.data_location != TensorProto.EXTERNAL:
            weights.refer(tensor, path, *cut[tensor.name])
    return model


def _structure(path: Path) -> Tuple[ModelProto, Dict[str, Tuple[int, int]]]:
    with skeleton.mapped(path) as view:
        found = skeleton.of(view)
        if found is not None:
            return ModelProto.FromString(found.model), found.weights
        return ModelProto.FromString(bytes(view)), {}


def bring(model: ModelProto) -> None:
    """Load all weights into memory, in place, for code that doesn't know that they are in files."""
    _bring(tensors(model))


def _bring(stored: Iterable[TensorProto]) -> None:
    for tensor in stored:
        if tensor.data_location == TensorProto.EXTERNAL:
            weights.bring(tensor)


def save(model: ModelProto, path: Path) -> None:
    """Write a model as one file if protobuf can read that, otherwise with ``PATH.weights`` next to it.

    The model is not modified.
    """
    _bring(_inner(model))  # a file can't refer to itself from there
    large = [tensor for tensor in model.graph.initializer if _is_large(tensor)]
    shell = _without(model, large)
    if shell.ByteSize() + sum(weights.nbytes(tensor) for tensor in large) < _LARGEST_FILE:
        _write_whole(shell, large, path)
    else:
        _write_parts(shell, large, path)


def _is_large(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL or len(tensor.raw_data) >= _SMALLEST_MAPPED


def without_weights(model: ModelProto, *, sized: bool = False) -> ModelProto:
    """Return a copy whose large tensors are empty, for code that only checks a model's structure.

    ``sized``: whether they keep their shapes, which ONNX's checker rejects and its inference needs.
    """
    large = [tensor for tensor in model.graph.initializer if _is_large(tensor)]
    shell = _without(model, large)
    for tensor in _inner(shell):
        empty(tensor, sized=sized)
    for tensor in large:
        shell.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims if sized else [0])
    return shell


def empty(tensor: TensorProto, *, sized: bool = False) -> None:
    """Take a tensor's reference to a file from it; see ``without_weights``."""
    if tensor.data_location == TensorProto.EXTERNAL:
        dims = tensor.dims if sized else [0]
        tensor.CopyFrom(TensorProto(name=tensor.name, data_type=tensor.data_type, dims=dims))


def _without(model: ModelProto, large: List[TensorProto]) -> ModelProto:
    """Return the model without these initializers."""
    names = {tensor.name for tensor in large}
    shell = ModelProto()
    _fill(shell, model, {"graph": ()})
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    _fill(shell.graph, model.graph, {"initializer": kept})
    return shell


def _fill(target: Message, source: Message, instead: "dict[str, Sequence[TensorProto]]") -> None:
    """Copy the fields of a message, with replacements for some of them."""
    for descriptor, found in source.ListFields():
        value = instead.get(descriptor.name, found)
        if hasattr(value, "extend"):
            getattr(target, descriptor.name).extend(value)
        elif value != ():
            setattr(target, descriptor.name, value)


def _write_whole(shell: ModelProto, large: List[TensorProto], path: Path) -> None:
    graph = shell.graph.SerializeToString()
    heads = [_initializer_head(tensor) for tensor in large]
    size = len(graph) + sum(len(head) + weights.nbytes(tensor) for head, tensor in zip(heads, large))
    shell.ClearField("graph")
    with naming(path), open(str(path), "wb") as stream:
        stream.write(shell.SerializeToString())
        stream.write(skeleton.prefix(_GRAPH, size))
        stream.write(graph)
        for head, tensor in zip(heads, large):
            stream.write(head)
            stream.writelines(weights.chunks(tensor))


def _initializer_head(tensor: TensorProto) -> bytes:
    """Return the bytes before an initializer's values."""
    length = weights.nbytes(tensor)
    head: bytes = weights.head(tensor).SerializeToString() + skeleton.prefix(_RAW_DATA, length)
    return skeleton.prefix(_INITIALIZER, len(head) + length) + head


def _write_parts(shell: ModelProto, large: List[TensorProto], path: Path) -> None:
    with naming(path), open(f"{path}.weights", "wb") as stream:
        for tensor in large:
            at = -(-stream.tell() // _ALIGNMENT) * _ALIGNMENT
            stream.seek(at)
            head = shell.graph.initializer.add()
            head.CopyFrom(weights.head(tensor))
            weights.refer(head, Path(f"{path.name}.weights"), at, weights.nbytes(tensor))
            stream.writelines(weights.chunks(tensor))
    with naming(path):
        path.write_bytes(shell.SerializeToString())


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of a model: of all graphs, functions and attributes."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _inner(model: ModelProto) -> Iterator[TensorProto]:
    """Return all tensors except the initializers of the outermost graph."""
    return itertools.islice(tensors(model), len(model.graph.initializer), None)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: "onnx.NodeProto") -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from of_attribute(attribute)


def of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    """Yield the tensors of an attribute, those in its graphs included."""
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (
        *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
        *attribute.sparse_tensors,
    ):
        yield sparse.values
        yield sparse.indices
    for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
        yield from _of_graph(graph)
