"""fp16 for backends that take precision from the graph's types (TensorRT 11, TensorRT-RTX)."""

from __future__ import annotations

import fnmatch
import importlib.util
import warnings
from typing import List, Sequence, Tuple

from onnx import ModelProto

from ..contract.report import WarningInfo
from ..errors import ConvertError
from . import graph


def check() -> None:
    """Refuse fp16 where the module that rewrites a graph is missing."""
    if importlib.util.find_spec("onnxconverter_common") is None:
        raise ConvertError(
            "precision-unavailable",
            "this backend takes fp16 from the graph, and the module that rewrites it is missing: onnxconverter_common",
            hint="pip install 'prepare-models[local]'",
        )


def rewrite(model: ModelProto, *, keep_fp32: Sequence[str] = ()) -> Tuple[ModelProto, List[WarningInfo]]:
    """Return the model with float16 inner tensors; inputs and outputs keep their types.

    Operators outside the ONNX standard stay in float32, as a plugin decides its own types, and so do the nodes whose
    names match a pattern of ``keep_fp32``.
    """
    check()
    from onnxconverter_common import float16

    blocked = [
        node.name
        for node in graph.nodes(model)
        if any(fnmatch.fnmatchcase(node.name, pattern) for pattern in keep_fp32)
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        converted: ModelProto = float16.convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=float16.DEFAULT_OP_BLOCK_LIST + graph.custom_operators(model),
            node_block_list=blocked,
            disable_shape_infer=model.ByteSize() > 1 << 30,
        )
    clamped = sum("float16" in str(warning.message) or "truncated" in str(warning.message) for warning in caught)
    return converted, _clamp_warning(clamped)


def _clamp_warning(clamped: int) -> List[WarningInfo]:
    if not clamped:
        return []
    return [
        WarningInfo(
            code="fp16-clamped-weights",
            message=f"values outside the range of float16 were clamped in {clamped} tensors",
            hint="compare the engine's results with the fp32 model before you deploy it",
        )
    ]
