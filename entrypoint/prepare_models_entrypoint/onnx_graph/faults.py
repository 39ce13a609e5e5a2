"""What is against the rules of ONNX in a model: told apart, the model's own faults and those of rewriting it."""

from __future__ import annotations

from typing import Optional

import onnx
from onnx import ModelProto, TensorProto

from ..errors import ConvertError


class RewriteError(ValueError):
    """Rewriting a model failed at a node, which the message names."""


def of(model: ModelProto) -> Optional[str]:
    """Return what ONNX's checker says against a model whose large weights lie in files, None where it is fine."""
    shell = ModelProto()
    shell.CopyFrom(model)
    for tensor in shell.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=[0])
            tensor.CopyFrom(bare)
    try:
        onnx.checker.check_model(shell)
    except onnx.checker.ValidationError as error:
        return str(error).strip()
    except ValueError as error:  # over 2 GiB in memory: nothing to judge
        return None if "2GiB" in str(error) else str(error)
    return None


def blame(name: str, fault: Optional[str], error: str) -> ConvertError:
    """Return the error of a rewriting that failed: the model's own where it has a fault, else one of this tool."""
    if fault is not None:
        return ConvertError(
            "onnx-node-invalid",
            f"{name} is not well formed, it can't be rewritten: {fault}",
            hint="export the model again; onnx.checker names the node",
        )
    return ConvertError(
        "internal",
        f"{name} is well formed, and rewriting it failed: {error}",
        hint="please report this with the model; precision: fp32 builds it as it is, and keep_fp32: [NODE] may help",
    )
