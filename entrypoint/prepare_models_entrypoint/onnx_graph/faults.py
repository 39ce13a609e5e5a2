"""What breaks the rules of ONNX in a model: the model's own faults, as opposed to faults of rewriting it."""

from __future__ import annotations

import re
from typing import Optional

import onnx
from onnx import ModelProto, TypeProto

from ..errors import ConvertError
from . import model_file
from .walk import graphs

_TAGS = re.compile(r"\[\w+Error\] |Inference error\(s\): ")  # in onnx's messages


class RewriteError(ValueError):
    """Rewriting a model failed at a node, which the message names."""


def of(model: ModelProto) -> Optional[str]:
    """Return the objection of ONNX's checker to a model whose large weights are in files, or None.

    Inputs and outputs without a shape are accepted: the checker stops at the first, and nothing else needs one.
    """
    shell = model_file.without_weights(model)
    for graph in graphs(shell.graph):
        for value in (*graph.input, *graph.output):
            _give_shape(value.type)
    try:
        onnx.checker.check_model(shell)
    except onnx.checker.ValidationError as error:
        return str(error).strip()
    except UnicodeDecodeError:  # the checker's own message repeats the name
        return "a name in it is not UTF-8"
    return None


def plain(error: BaseException) -> str:
    """Return onnx's message in one line, without the names of its error types."""
    return _TAGS.sub("", " ".join(str(error).split())).rstrip(".")


def _give_shape(kind: TypeProto) -> None:
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        getattr(kind, which).shape.SetInParent()
    elif which in ("sequence_type", "optional_type"):
        _give_shape(getattr(kind, which).elem_type)


def blame(name: str, fault: Optional[str], error: str) -> ConvertError:
    """Return the error of a failed rewriting: the model's fault if it has one, else an error of this tool."""
    if fault is not None:
        return ConvertError(
            "onnx-node-invalid",
            f"{name} is not well formed and can't be rewritten: {fault}",
            hint="export the model again; onnx.checker names the node",
        )
    return ConvertError(
        "internal",
        f"{name} is well formed, but rewriting it failed: {error}",
        hint="please report this with the model; precision: fp32 builds it as it is, and keep_fp32: [NODE] may help",
    )
