"""Nodes of which TensorRT's parser computes something else than ONNX says, without a word."""

from __future__ import annotations

from typing import Iterator, Mapping, Optional

from onnx import ModelProto, NodeProto, defs

from ..errors import ConvertError
from . import graph
from .schemas import CONTRIB, LIKE_THE_STANDARD, STANDARD, opsets

_RECURRENT = ("LSTM", "GRU", "RNN")
_SCAN_WITHOUT_BATCH = 9  # the opset from which a Scan has no axis of batches
_SHOWN = 5


def check(model: ModelProto) -> None:
    """Refuse a model with such nodes; one without functions.

    Raises:
        ConvertError: ``onnx-unsupported-operator``, with the nodes.
    """
    versions = opsets(model)
    found = {node.name or next(filter(None, node.output), ""): (node, why) for node, why in _found(model, versions)}
    if not found:
        return
    named = ", ".join(
        f"{node.op_type} at node {name!r} ({why})" for name, (node, why) in list(found.items())[:_SHOWN]
    )
    error = ConvertError(
        "onnx-unsupported-operator",
        f"TensorRT would compute something else than the model says: {named}",
        hint="export the model with operators of ONNX's newer sets, in their default layout; an operator of your own "
        "needs a name that ONNX does not have",
    )
    error.nodes = tuple(node.name for node, _ in found.values() if node.name)
    raise error


def _found(model: ModelProto, versions: Mapping[str, int]) -> "Iterator[tuple[NodeProto, str]]":
    for node in graph.nodes(model):
        why = _why(node, versions)
        if why is not None:
            yield node, why


def _why(node: NodeProto, versions: Mapping[str, int]) -> Optional[str]:
    if node.domain not in STANDARD:
        known = node.domain == CONTRIB and node.op_type in LIKE_THE_STANDARD
        return None if known or not defs.has(node.op_type) else f"of {node.domain}, but it goes by the name alone"
    if node.op_type in _RECURRENT and any(each.name == "layout" and each.i for each in node.attribute):
        return "it ignores layout=1, and takes samples for steps"
    if node.op_type == "Scan" and versions[""] < _SCAN_WITHOUT_BATCH:
        return "it reads it as of opset 9 and later, without the axis of batches"
    return None
