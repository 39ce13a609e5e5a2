"""What an ONNX file contains. Reads everything but weights, only in a separate process (``isolated``)."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Set, Tuple

from ..contract.report import Binding, WarningInfo
from ..errors import InspectError, missing
from ..onnx_graph import whole_file
from .isolated import Document, Tell

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_LARGEST = (2 << 30) - 1  # protobuf's limit for one message
_LONGEST_TEXT = 1000


def read(path: Path, tell: Tell, *, layers: bool, weights: bool) -> None:
    """Report what the model is, and again with inferred shapes if outputs have none.

    Raises:
        InspectError: it is not a readable ONNX model, or it is empty.
    """
    _check_file(path)
    model = _parse(path)
    document = _describe(model, path, layers=layers, weights=weights)
    if not document["io"]:
        raise InspectError("network-empty", f"{path.name} has no inputs and no outputs", hint="check the export")
    if not any(_is_incomplete(value) for value in document["io"] if value["mode"] == "output"):
        tell(document)
        return
    tell({**document, "note": "outputs without a shape: inferring them did not finish"})
    from .onnx_shapes import infer

    document["note"] = infer(model, document["io"])
    tell(document)


def _is_incomplete(value: Document) -> bool:
    a_tensor = "(" not in value["dtype"]
    return value["dtype"] == "unknown" or (a_tensor and value["shape"] is None)


def bindings(model: ModelProto) -> List[Binding]:
    """Return the inputs that have no value of their own, and the outputs."""
    from .onnx_types import binding

    graph = model.graph
    constant = _constants(graph)
    inputs = [binding(value, "input") for value in graph.input if value.name not in constant]
    return inputs + [binding(value, "output") for value in graph.output]


def _check_file(path: Path) -> None:
    size = path.stat().st_size
    if not size:
        raise InspectError("source-not-a-model", f"{path.name} is empty", hint="download or export it again")
    whole_file.check(path)
    if size > _LARGEST:
        raise InspectError(
            "onnx-too-large",
            f"{path.name} has {size} bytes; protobuf, and with it every reader of ONNX, stops at {_LARGEST}",
        )


def _parse(path: Path) -> ModelProto:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise missing(InspectError, "reading ONNX", "inspect", error) from error
    try:
        model: ModelProto = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise InspectError(
            "onnx-invalid",
            f"{path.name} is not an ONNX model: {error}",
            hint="check that the file is complete; graphs nested more than 30 levels deep can't be read either",
        ) from error
    return model


def _describe(model: ModelProto, path: Path, *, layers: bool, weights: bool) -> Document:
    from .onnx_types import text
    from .onnx_weights import of_graph

    graph = model.graph
    found = of_graph(list(_graphs(graph)), path)
    producer = f"{text(model.producer_name)} {text(model.producer_version)}".strip()
    document: Document = {
        "format": "onnx",
        "name": text(graph.name),
        "io": [_value(value, mode) for mode, value in _values(graph)],
        "opsets": {text(item.domain) or "ai.onnx": item.version for item in model.opset_import},
        "ir_version": model.ir_version,
        "producer": producer or None,
        "nodes": len(graph.node),
        "operators": _operators(graph),
        "functions": [f"{text(item.domain)}::{text(item.name)}" for item in getattr(model, "functions", ())],
        "training": len(model.training_info) > 0,
        "metadata": {text(item.key): text(item.value)[:_LONGEST_TEXT] for item in model.metadata_props},
        "weights": found.summary,
        "warnings": found.warnings + _duplicates(graph),
        "note": None,
    }
    if weights:
        document["weights"]["tensors"] = found.tensors
    if layers:
        document["layers"] = [_layer(node) for node in graph.node]
    return document


def _constants(graph: GraphProto) -> Set[str]:
    """Return the names of values that are in the file."""
    return {tensor.name for tensor in graph.initializer} | {item.values.name for item in graph.sparse_initializer}


def _values(graph: GraphProto) -> Iterator[Tuple[str, ValueInfoProto]]:
    constant = _constants(graph)
    yield from (("input", value) for value in graph.input if value.name not in constant)
    yield from (("output", value) for value in graph.output)


def _value(value: ValueInfoProto, mode: str) -> Document:
    from .onnx_types import binding, describe

    _, dims = describe(value.type)
    document: Document = {**binding(value, mode), "dims": dims, "inferred": False}
    if dims is None:
        document["shape"] = None
    return document


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and every graph within it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _graphs(body)


def _operators(graph: GraphProto) -> Dict[str, int]:
    counts = collections.Counter(_operator(node) for each in _graphs(graph) for node in each.node)
    return dict(sorted(counts.items()))


def _operator(node: NodeProto) -> str:
    from .onnx_types import text

    domain = text(node.domain)
    return f"{domain}::{text(node.op_type)}" if domain not in ("", "ai.onnx") else text(node.op_type)


def _layer(node: NodeProto) -> Document:
    from .onnx_types import text

    return {
        "name": text(node.name),
        "type": _operator(node),
        "precision": None,
        "inputs": [text(name) for name in node.input],
        "outputs": [text(name) for name in node.output],
    }


def _duplicates(graph: GraphProto) -> List[WarningInfo]:
    found: List[WarningInfo] = []
    for mode, values in (("input", graph.input), ("output", graph.output)):
        names = collections.Counter(value.name for value in values)
        twice = [str(name) or "(no name)" for name, count in names.items() if count > 1 or not name]
        if twice:
            message = f"{mode} names that are empty or repeat: {', '.join(twice)}"
            found.append(WarningInfo(code="onnx-names", message=message, hint="give every value a unique name"))
    return found
