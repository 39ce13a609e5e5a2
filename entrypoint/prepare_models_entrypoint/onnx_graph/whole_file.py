"""Refusing files that are not complete ONNX models, before anything reads them."""

from __future__ import annotations

from pathlib import Path

from ..contract import other_formats, skeleton
from ..contract.skeleton import OTHER, TRUNCATED, WHOLE, mapped
from ..contract.skeleton import verdict as verdict_of
from ..errors import ConvertError

__all__ = ["OTHER", "TRUNCATED", "WHOLE", "check", "check_operator_sets", "verdict"]

_OPERATOR_SETS = 8  # in ModelProto
HOW_TO_NAME_ONE = (
    "export it again, or write the operator set that it was exported with: "
    "model.opset_import.append(onnx.helper.make_opsetid('', 17))"
)


def verdict(path: Path) -> str:
    """Return ``whole``, ``truncated`` (begins like a model and ends too early) or ``other``."""
    with mapped(path) as view:
        return verdict_of(view)


def check(path: Path) -> None:
    """Refuse a file that is not an ONNX model, or only the beginning of one; the error says what it is.

    Raises:
        ConvertError: the file is not a complete ONNX model.
    """
    found = verdict(path)
    if found == WHOLE:
        return
    size = path.stat().st_size
    known = other_formats.kind(path)
    if known is not None:
        what, hint = known
        raise ConvertError("source-not-a-model", f"{path.name} is {what}", hint=hint)
    if found == TRUNCATED:
        raise ConvertError(
            "onnx-invalid",
            f"{path.name} begins like an ONNX model but ends too early, after {size} bytes",
            hint="download or export the file again",
        )
    with open(str(path), "rb") as stream:
        head = stream.read(4096)
    if head and not any(head):
        raise ConvertError(
            "network-empty",
            f"{path.name} contains only zeros and no network: {size} bytes",
            hint="the file was never filled: download or export it again",
        )
    raise ConvertError(
        "onnx-invalid",
        f"{path.name} is not an ONNX model: {size} bytes, starting with {head[:4].hex() or 'nothing'}",
        hint="check that the file is complete and of this format; 'prepare-models inspect FILE' shows what it is",
    )


def check_operator_sets(path: Path) -> None:
    """Refuse a model that doesn't declare its operators' version: each parser guesses a different one."""
    with mapped(path) as view:
        found = any(field.number == _OPERATOR_SETS for field in skeleton.fields(view, 0, len(view)))
    if not found:
        raise ConvertError(
            "onnx-invalid",
            f"{path.name} names no operator set (opset_import is empty), so what its operators mean is not defined",
            hint=HOW_TO_NAME_ONE,
        )
