"""A scalar factor after a convolution in fp32, repeated for each channel: otherwise TensorRT-RTX 1.7 can't compile it.

Seen when a Cast to fp16 follows: "const_ppg.cpp: CHECK(same_symbolic_shapes(op_output->dimensions(), A_dims)) failed".
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from . import weights
from .names import Names
from .walk import attributes

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def spread(model: ModelProto) -> None:
    """Give each such Mul its factor as a tensor of all channels, in place; results stay bit-identical."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {
        node.output[0]: _shape(node, constants) for node in model.graph.node
        if node.op_type in _CONVOLUTIONS and not node.domain
    }  # fmt: skip
    names = Names(model)
    for node in model.graph.node:
        if node.op_type != "Mul" or node.domain:
            continue
        for index, other in ((0, 1), (1, 0)):
            factor, shape = constants.get(node.input[index]), made.get(node.input[other])
            if factor is not None and shape is not None and _is_single(factor, len(shape)):
                values = np.full(shape, weights.array(factor).reshape(-1)[0], np.float32)
                node.input[index] = weights.add(model.graph, values, names.fresh(f"{factor.name}_of_channels"))


def _shape(node: NodeProto, constants: Dict[str, TensorProto]) -> Optional[Tuple[int, ...]]:
    """Return the shape of one value per channel if a node is a convolution in fp32, else None."""
    kernel = constants.get(node.input[1])
    if kernel is None or kernel.data_type != TensorProto.FLOAT or len(kernel.dims) < 3:
        return None
    channels = kernel.dims[0] if node.op_type == "Conv" else kernel.dims[1] * attributes(node).get("group", 1)
    return (1, channels, *(1 for _ in kernel.dims[2:]))


def _is_single(factor: TensorProto, rank: int) -> bool:
    return factor.data_type == TensorProto.FLOAT and len(factor.dims) <= rank and set(factor.dims) <= {1}
