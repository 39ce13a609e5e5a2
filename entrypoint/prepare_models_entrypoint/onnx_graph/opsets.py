"""Converting a model to a newer version of ONNX's operators."""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, version_converter

from ..errors import ConvertError
from ..third_party import ThirdPartyError, third_party
from . import schemas
from .constants import Constants
from .graph import nodes
from .prepare import prepare

_OF_BF16 = 13
_OPSET_OF_COORDINATES = 11  # of Resize; it had those of Upsample before
_OPSET_OF_LAST_AXIS = 13  # until then Hardmax flattened what follows its axis, which ONNX's converter forgets


def for_bf16(model: ModelProto) -> ModelProto:
    """Return the model with operators that have bf16.

    Raises:
        ConvertError: it can't be converted.
    """
    return lift(model, _OF_BF16, needed_by="bf16")


def lift(model: ModelProto, wanted: int, *, needed_by: str = "") -> ModelProto:
    """Return the model with operators of version ``wanted``, or unchanged if it can't be converted.

    Nodes that ONNX's converter adds have no names, so the model is prepared again.

    Raises:
        ConvertError: it can't be converted, which something needs.
    """
    found = schemas.opsets(model)[""]
    if found >= wanted:
        return model
    lifted, why = _converted(model, found, wanted)
    if lifted is None and needed_by:
        raise ConvertError(
            "precision-unavailable",
            f"{needed_by} needs opset {wanted}; this model has {found} and can't be upgraded: {why}",
            hint=f"export the model with opset {wanted} or later",
        )
    if lifted is None:
        return model
    # Old versions of the converter lose references to external data.
    referring = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_location}
    for tensor in lifted.graph.initializer:
        if tensor.name in referring and tensor.data_location != TensorProto.EXTERNAL:
            tensor.CopyFrom(referring[tensor.name])
    return prepare(lifted)


def _converted(model: ModelProto, found: int, wanted: int) -> Tuple[Optional[ModelProto], str]:
    """Return the model as ONNX's converter makes it, or None and the reason."""
    if found < _OPSET_OF_LAST_AXIS <= wanted and any(node.op_type == "Hardmax" for node in nodes(model)):
        return None, "Hardmax has another meaning there"
    resized = _resized(model) if found < _OPSET_OF_COORDINATES <= wanted else []
    try:
        with third_party():
            lifted = version_converter.convert_version(model, wanted)
    except ThirdPartyError as error:
        return None, str(error)
    if [value.type for value in lifted.graph.input] != [value.type for value in model.graph.input]:
        return None, "ONNX's converter changes its inputs"
    _complete(lifted, resized)
    return lifted, ""


def _complete(lifted: ModelProto, resized: List[Tuple[str, str]]) -> None:
    """Give converted Resize nodes what their old form implied, and the names of their results; see ``_resized``."""
    names = {}
    for node, (name, nearest) in zip((node for node in nodes(lifted) if node.op_type == "Resize"), resized):
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        node.attribute.append(helper.make_attribute("nearest_mode", nearest))
        names[node.output[0]] = name
    for node in nodes(lifted):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _resized(model: ModelProto) -> List[Tuple[str, str]]:
    """Return what is resized, and how it takes the nearest value: the one below, in a smaller tensor the one above."""
    known = Constants(model)
    return [
        (node.output[0], "ceil" if _shrinks(node, known) else "floor")
        for node in nodes(model) if node.op_type in ("Resize", "Upsample")
    ]  # fmt: skip


def _shrinks(node: NodeProto, known: Constants) -> bool:
    scales = known.get(node.input[1]) if len(node.input) > 1 else None
    return scales is not None and bool(np.any(scales.astype(np.float32) < 1))
