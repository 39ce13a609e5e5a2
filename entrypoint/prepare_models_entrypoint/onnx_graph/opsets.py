"""Converting a model to a newer version of ONNX's operators."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, version_converter

from ..errors import ConvertError
from ..third_party import ThirdPartyError, third_party
from . import schemas
from .prepare import prepare


def lift(model: ModelProto, wanted: int, *, required: int, why: str) -> ModelProto:
    """Return the model with operators of version ``wanted``, or unchanged if it can't be converted.

    Nodes that ONNX's converter adds have no names, so the model is prepared again.

    Raises:
        ConvertError: it can't be converted and is older than ``required``, the version that ``why`` needs.
    """
    found = schemas.opsets(model)[""]
    if found >= wanted:
        return model
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
    return prepare(lifted)


def _too_old(model: ModelProto, found: int, required: int, need: str, why: str) -> ModelProto:
    if found >= required:
        return model
    raise ConvertError(
        "precision-unavailable",
        f"{need}; this model has {found} and can't be upgraded: {why}",
        hint=f"export the model with opset {required} or later",
    )
