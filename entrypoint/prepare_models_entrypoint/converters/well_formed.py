"""What a parser accepts although it should not: models checked by ONNX's rules, and by how TensorRT computes them."""

from __future__ import annotations

from pathlib import Path

from ..contract import skeleton
from ..errors import ConvertError, missing
from . import parser_errors

_SHOWN = 5


def check(source: Path) -> None:
    """Refuse a model that breaks ONNX's rules, or that TensorRT computes differently.

    If onnx is not installed, as in images with the full TensorRT, only the parser checks the model.

    Raises:
        ConvertError: ``onnx-invalid``, ``onnx-node-invalid``, ``onnx-unsupported-operator``,
        ``quantization-asymmetric``, or ``module-missing``: it has functions, and onnx is not installed.
    """
    try:
        from ..onnx_graph import functions, misread, model_file, prepare, rules, symmetric
    except ImportError as error:
        if has_functions(source):
            raise missing(ConvertError, "a model with functions", "inspect", error) from error
        return
    model = functions.inline(model_file.load(source))
    misread.check(model)
    rules.check(model)
    if mentions(source, b"uantizeLinear"):  # with and without De
        symmetric.check(prepare.prepare(model))


def has_functions(source: Path) -> bool:
    """Return whether a model has functions. Parsers look for them by name alone, after operators and tensors."""
    with skeleton.mapped(source) as view:
        return skeleton.has_functions(view)


def check_loops(onnx: Path, source: Path) -> None:
    """Refuse a graph with loops that the parser gives results of the wrong size, or refuses for another reason.

    ``onnx``: the file to parse. ``source``: the original model.

    Raises:
        ConvertError: ``onnx-unsupported-operator``, with the nodes.
    """
    if not mentions(onnx, b"Loop"):
        return
    try:
        from ..onnx_graph import loops, model_file, prepare
    except ImportError:
        return
    names = loops.uncounted(prepare.prepare(model_file.load(onnx)))
    if names:
        error = ConvertError(
            "onnx-unsupported-operator",
            f"TensorRT can't take operator Loop at node {', '.join(map(repr, names[:_SHOWN]))}: it collects "
            "one result per iteration, and only its condition ends it; TensorRT would go by the trip count",
            hint="export the loop over a range, with a trip count and a condition that is always true"
            + parser_errors.advice(source, names, decided=True),
        )
        error.nodes = tuple(names)
        raise error


def mentions(file: Path, word: bytes) -> bool:
    """Return whether a model's file contains a word; its large weights are not searched."""
    with skeleton.mapped(file) as view:
        found = skeleton.of(view)
        return (found.model if found else view).find(word) >= 0
