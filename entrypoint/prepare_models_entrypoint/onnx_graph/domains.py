"""Operator sets that a model lists for the domains of its operators."""

from __future__ import annotations

from onnx import ModelProto, helper

from ..errors import ConvertError
from . import graph
from .schemas import STANDARD
from .whole_file import HOW_TO_NAME_ONE


def declare(model: ModelProto) -> None:
    """Add missing operator sets for operators of other vendors: ONNX GraphSurgeon omits them.

    The standard domain's long name becomes the short one, which is the only one that ONNX's checker knows.

    Raises:
        ConvertError: the version of the standard operators is missing; it can't be guessed.
    """
    for node in graph.nodes(model):
        node.domain = "" if node.domain in STANDARD else node.domain
    if "" not in {item.domain for item in model.opset_import}:
        for item in model.opset_import:
            item.domain = "" if item.domain in STANDARD else item.domain
    known = {item.domain for item in model.opset_import}
    used = {node.domain for node in graph.nodes(model)} - known
    if not known & set(STANDARD) and used & set(STANDARD):
        raise ConvertError(
            "onnx-invalid",
            f"the model uses standard operators and lists operator sets for {', '.join(sorted(known)) or 'none'} only",
            hint=HOW_TO_NAME_ONE,
        )
    for domain in sorted(used - set(graph.STANDARD_DOMAINS)):
        model.opset_import.append(helper.make_opsetid(domain, 1))


def drop_unused(model: ModelProto) -> None:
    """Remove unused operator sets: ONNX Runtime lists all that it has, and parsers warn about them."""
    used = {node.domain for node in graph.nodes(model)} | {function.domain for function in model.functions}
    kept = [item for item in model.opset_import if item.domain in used or item.domain in graph.STANDARD_DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(kept)
