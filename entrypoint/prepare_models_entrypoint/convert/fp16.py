"""fp16 for backends that take precision from the graph's types (TensorRT 11, TensorRT-RTX)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import List

from ..contract.report import WarningInfo
from ..errors import ConvertError


def rewrite(source: Path, target: Path) -> List[WarningInfo]:
    """Write a copy of the model whose inner tensors are float16; inputs and outputs keep their types.

    Operators outside the ONNX standard stay in float32, as a plugin decides its own types.
    """
    try:
        import onnx
        from onnxconverter_common import float16
    except ImportError as error:
        raise ConvertError(
            "precision-unavailable",
            f"this backend takes fp16 from the graph, and the module that rewrites it is missing: {error.name}",
            hint="pip install 'prepare-models[local]'",
        ) from error
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf raises its own types, and which ones differs between its versions
        raise ConvertError(
            "onnx-invalid", f"the model can't be read: {error}", hint="check that the file is a complete ONNX model"
        ) from error
    custom = sorted({node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx", "ai.onnx.ml")})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted = float16.convert_float_to_float16(
            model, keep_io_types=True, op_block_list=float16.DEFAULT_OP_BLOCK_LIST + custom
        )
    onnx.save(converted, str(target))
    clamped = sum("float16" in str(warning.message) or "truncated" in str(warning.message) for warning in caught)
    if not clamped:
        return []
    return [
        WarningInfo(
            code="fp16-clamped-weights",
            message=f"values outside the range of float16 were clamped in {clamped} tensors",
            hint="compare the engine's results with the fp32 model before you deploy it",
        )
    ]
