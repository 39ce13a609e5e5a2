"""Converting a model to a newer version of ONNX's operators."""

from __future__ import annotations

from typing import Dict

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, version_converter

from ..errors import ConvertError
from ..third_party import ThirdPartyError, third_party
from . import schemas
from .constants import Constants
from .graph import nodes
from .prepare import prepare

_OPSET_OF_COORDINATES = 11  # of Resize; it had those of Upsample before
_OPSET_OF_LAST_AXIS = 13  # until then Hardmax flattened what follows its axis, which ONNX's converter forgets


def lift(model: ModelProto, wanted: int, *, required: int, why: str) -> ModelProto:
    """Return the model with operators of version ``wanted``, or unchanged if it can't be converted.

    Nodes that ONNX's converter adds have no names, so the model is prepared again.

    Raises:
        ConvertError: it can't be converted and is older than ``required``, the version that ``why`` needs.
    """
    found = schemas.opsets(model)[""]
    if found >= wanted:
        return model
    if found < _OPSET_OF_LAST_AXIS <= wanted and any(node.op_type == "Hardmax" for node in nodes(model)):
        return _too_old(model, found, required, f"{why} needs opset {required}", "Hardmax has another meaning there")
    old = _resized(model) if found < _OPSET_OF_COORDINATES <= wanted else {}
    # Old versions of the converter lose references to external data.
    referring = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_location}
    try:
        with third_party():
            lifted = version_converter.convert_version(model, wanted)
    except ThirdPartyError as error:
        return _too_old(model, found, required, f"{why} needs opset {required}", str(error))
    if [value.type for value in lifted.graph.input] != [value.type for value in model.graph.input]:
        return _too_old(model, found, required, f"{why} needs opset {required}", "ONNX's converter changes its inputs")
    for tensor in lifted.graph.initializer:
        if tensor.name in referring and tensor.data_location != TensorProto.EXTERNAL:
            tensor.CopyFrom(referring[tensor.name])
    for node in nodes(lifted):
        if node.op_type == "Resize" and node.output[0] in old:  # the converter leaves out what was implied
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(helper.make_attribute("nearest_mode", old[node.output[0]]))
    return prepare(lifted)


def _resized(model: ModelProto) -> Dict[str, str]:
    """Return how each resized tensor takes the nearest value: the one below, in a smaller tensor the one above."""
    known = Constants(model)
    return {
        node.output[0]: "ceil" if _shrinks(node, known) else "floor"
        for node in nodes(model) if node.op_type in ("Resize", "Upsample")
    }  # fmt: skip


def _shrinks(node: NodeProto, known: Constants) -> bool:
    scales = known.get(node.input[1]) if len(node.input) > 1 else None
    return scales is not None and bool(np.any(scales.astype(np.float32) < 1))


def _too_old(model: ModelProto, found: int, required: int, need: str, why: str) -> ModelProto:
    if found >= required:
        return model
    raise ConvertError(
        "precision-unavailable",
        f"{need}; this model has {found} and can't be upgraded: {why}",
        hint=f"export the model with opset {required} or later",
    )
