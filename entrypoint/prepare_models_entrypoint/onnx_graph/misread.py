"""What TensorRT's parser silently reads differently from ONNX: types of tensors, and nodes."""

from __future__ import annotations

from typing import Mapping, Optional

from onnx import ModelProto, NodeProto, TensorProto, defs

from ..errors import ConvertError
from . import graph
from .schemas import CONTRIB, LIKE_THE_STANDARD, STANDARD, opsets
from .walk import attributes

_RECURRENT = ("LSTM", "GRU", "RNN")
_SCAN_WITHOUT_BATCH = 9  # the opset from which a Scan has no axis of batches
_LENGTHS = 6  # the input of Attention with the number of keys that are no padding
_SHOWN = 5
# Operators that ONNX took over from ONNX Runtime, whose exporter for PyTorch still writes the last two.
_SAME = (*LIKE_THE_STANDARD, "GridSample", "Trilu")


def check(model: ModelProto) -> None:
    """Refuse a model with such inputs, outputs or nodes; it has no functions.

    Raises:
        ConvertError: ``onnx-unsupported-operator``, with the nodes.
    """
    _check_types(model)
    versions, found = opsets(model), {}
    for node in graph.nodes(model):
        why = _why(node, versions)
        if why is not None:
            found[node.name or next(filter(None, node.output), "")] = node, why
    if not found:
        return
    named = ", ".join(f"{node.op_type} at node {name!r} ({why})" for name, (node, why) in list(found.items())[:_SHOWN])
    error = ConvertError(
        "onnx-unsupported-operator",
        f"TensorRT would not compute what the model says: {named}",
        hint="export the model with a newer opset and the default layout; an operator of your own needs a name that "
        "ONNX does not use",
    )
    error.nodes = tuple(node.name for node, _ in found.values() if node.name)
    raise error


def _check_types(model: ModelProto) -> None:
    """Refuse inputs and outputs of float64, which TensorRT lacks: they would be float32."""
    stored = {tensor.name for tensor in model.graph.initializer}
    found = [
        repr(value.name)
        for value in (*model.graph.input, *model.graph.output)
        if value.type.tensor_type.elem_type == TensorProto.DOUBLE and value.name not in stored
    ]
    if found:
        raise ConvertError(
            "onnx-unsupported-operator",
            f"TensorRT has no float64, and would treat these as float32: {', '.join(found[:_SHOWN])}",
            hint="export the model with inputs and outputs of float32",
        )


def _why(node: NodeProto, versions: Mapping[str, int]) -> Optional[str]:
    if node.domain not in STANDARD:
        known = node.domain == CONTRIB and node.op_type in _SAME
        return None if known or not defs.has(node.op_type) else f"of {node.domain}; it goes by the name alone"
    has = attributes(node)
    if node.op_type in _RECURRENT and has.get("layout") == 1:
        return "it ignores layout=1, and mistakes samples for steps"
    if has.get("auto_pad") == b"VALID" and any(has.get("pads", ())):
        return "it pads in spite of auto_pad=VALID"
    if node.op_type == "GlobalLpPool" and has.get("p", 2) % 2:
        return f"it adds powers of {has['p']} with their signs"
    if node.op_type == "Resize" and has.get("coordinate_transformation_mode") == b"tf_half_pixel_for_nn":
        return None if has.get("mode", b"nearest") == b"nearest" else "it reads tf_half_pixel_for_nn as half_pixel"
    if node.op_type == "Attention" and any(node.input[_LENGTHS:]):
        return "it ignores the lengths in nonpad_kv_seqlen"
    if node.op_type == "Scan" and versions[""] < _SCAN_WITHOUT_BATCH:
        return "it expects the form of opset 9, without the axis of batches"
    return None
