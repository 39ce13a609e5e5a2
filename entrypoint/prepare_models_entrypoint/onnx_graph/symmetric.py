"""Q/DQ nodes that TensorRT computes differently from ONNX: it supports only int8 with zero points of 0."""

from __future__ import annotations

from typing import Dict, Iterator, List, Optional, Tuple

from onnx import ModelProto, NodeProto, TensorProto

from ..errors import ConvertError
from . import types, weights
from .constants import Constants
from .graph import QUANTIZERS
from .types import Scope

_SHOWN = 5
_UNSIGNED: Dict[int, str] = {TensorProto.UINT8: "uint8", TensorProto.UINT16: "uint16", TensorProto.UINT4: "uint4"}


def check(model: ModelProto) -> None:
    """Refuse asymmetric and unsigned quantization. TensorRT's parser accepts some of it, and saturates at 127.

    Args:
        model: as ``prepare`` returns it.

    Raises:
        ConvertError: ``quantization-asymmetric``, with the nodes.
    """
    found = list(_faults(types.of(model), Constants(model)))
    if not found:
        return
    shown = ", ".join(f"{node.name} ({why})" for node, why in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise ConvertError(
        "quantization-asymmetric",
        f"TensorRT takes symmetric int8 quantization only, and {len(found)} Q/DQ nodes are not: {shown}{more}",
        hint="quantize again with symmetric activations and weights (ONNX Runtime: QInt8, ActivationSymmetric, "
        "WeightSymmetric), or give the float model with calibration: {images: DIR}",
    )


def _faults(scope: Scope, known: Constants) -> Iterator[Tuple[NodeProto, str]]:
    for node in scope.graph.node:
        for inner in scope.inner.get(node.name, ()):
            yield from _faults(inner, known.within(inner.graph))
        why = _fault(node, scope, known) if node.op_type in QUANTIZERS else None
        if why is not None:
            yield node, why


def _fault(node: NodeProto, scope: Scope, known: Constants) -> Optional[str]:
    name = node.input[2] if len(node.input) > 2 else ""
    tensor = scope.constant(name) if name else None
    values = weights.array(tensor) if tensor is not None else known.get(name)
    if name and values is None:
        return "a computed zero point"  # which the parser drops
    if values is not None:
        points: List[float] = values.reshape(-1).astype(float).tolist()
        worst = next((point for point in points if point), None)
        if worst is not None:
            return f"zero point {worst:g}"
    integers = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
    return _UNSIGNED.get(scope.get(integers))
