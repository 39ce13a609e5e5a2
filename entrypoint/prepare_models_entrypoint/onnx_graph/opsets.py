"""Converting a model to a newer version of ONNX's operators."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, version_converter

from ..errors import ConvertError
from ..third_party import ThirdPartyError, third_party
from . import schemas
from .prepare import prepare

_OF_BF16 = 13


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
    # Old versions of the converter lose references to external data.
    referring = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_location}
    why = "ONNX's converter changes its inputs"
    try:
        with third_party():
            lifted = version_converter.convert_version(model, wanted)
    except ThirdPartyError as error:
        lifted, why = model, str(error)
    if [value.type for value in lifted.graph.input] != [value.type for value in model.graph.input]:
        lifted = model
    if lifted is model and needed_by:
        raise ConvertError(
            "precision-unavailable",
            f"{needed_by} needs opset {wanted}; this model has {found} and can't be upgraded: {why}",
            hint=f"export the model with opset {wanted} or later",
        )
    if lifted is model:
        return model
    for tensor in lifted.graph.initializer:
        if tensor.name in referring and tensor.data_location != TensorProto.EXTERNAL:
            tensor.CopyFrom(referring[tensor.name])
    return prepare(lifted)
