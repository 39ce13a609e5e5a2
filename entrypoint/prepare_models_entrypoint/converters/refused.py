"""What is tried after a backend refused a model, and what is to blame in the end: model, backend or a rewrite."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, Sequence

from ..contract.precision import AUTO
from ..errors import ConvertError
from . import parser_errors
from .attempts import Attempt
from .request import BuildResult

# Errors of parser, builder and programs about a graph and its sizes, which another form of the graph may avoid.
_OF_THE_GRAPH = (
    "build-failed", "converter-failed", "inputs-mismatch", "inputs-missing", "onnx-invalid", "onnx-node-invalid",
    "onnx-unsupported-operator", "plugin-missing", "precision-unavailable",
)  # fmt: skip
_SINGLY = 4  # how often only the refused nodes stay in fp32, before their neighbours do, too
_AROUND = 2  # nodes
_NAMED = 10


def best(attempt: Attempt, blank: BuildResult) -> BuildResult:
    """Return the result of the first way that the backend accepts.

    Raises:
        ConvertError: it accepts none. The model is blamed only if the backend refuses it unchanged.
    """
    try:
        return attempt.made(copy.deepcopy(blank))
    except ConvertError as error:
        refusal = error
    if refusal.code not in _OF_THE_GRAPH:
        raise refusal
    rescued = attempt.rescued()
    if rescued is not None:
        attempt = rescued
        try:
            return attempt.made(copy.deepcopy(blank))
        except ConvertError as error:
            refusal = error
    if attempt.precision == "fp32" or refusal.code not in _OF_THE_GRAPH:
        raise _with_a_witness(attempt, refusal)
    return _with_less_rewritten(attempt, refusal, blank)


def _with_a_witness(attempt: Attempt, refusal: ConvertError) -> ConvertError:
    """Return the error; contradictory sizes are the model's fault if ONNX Runtime can't compute them either."""
    why = attempt.unrunnable() if refusal.of_sizes else None
    if why is None:
        return refusal
    message = f"{refusal.message}. ONNX Runtime can't run it either: {why}"
    if attempt.sized:
        return ConvertError("inputs-mismatch", message, hint=refusal.hint)
    return ConvertError("onnx-node-invalid", message, hint="export the model with sizes that fit together at this node")


def _with_less_rewritten(attempt: Attempt, refusal: ConvertError, blank: BuildResult) -> BuildResult:
    try:
        attempt.tried_in_fp32().made(copy.deepcopy(blank))
    except ConvertError as error:  # if it is refused there, too, precision isn't the cause
        raise _with_a_witness(attempt, error) from None
    keep: Dict[str, str] = {}
    reason = f"the builder refuses it in {attempt.precision}"
    for tried in range(_SINGLY + 1):
        more = refusal.nodes if tried < _SINGLY else refusal.around
        fresh = [name for name in more if name not in keep]
        if not fresh and tried < _SINGLY:
            continue
        if not fresh:
            break
        keep.update(dict.fromkeys(fresh, reason))
        try:
            return attempt.keeping(keep).made(copy.deepcopy(blank))
        except ConvertError as error:
            if error.code not in _OF_THE_GRAPH:
                raise
            refusal = error
    if refusal.code == "precision-unavailable" and not keep:
        raise refusal  # no node is at fault: this machine lacks something that the precision needs
    if attempt.requested == AUTO:
        return attempt.in_fp32().made(copy.deepcopy(blank))
    raise _is_ours(attempt.precision, keep, refusal)


def _is_ours(precision: str, keep: Dict[str, str], refusal: ConvertError) -> ConvertError:
    named = ", ".join(list(keep)[:_NAMED]) + (", ..." if len(keep) > _NAMED else "")
    tried = f", also with {len(keep)} nodes kept in fp32 ({named})" if keep else ""
    pattern = f", or keep more around these nodes in fp32 with keep_fp32: {json.dumps(list(keep)[:1])}" if keep else ""
    error = ConvertError(
        "rewriting-refused",
        f"the builder takes the model in fp32, but refuses it rewritten to {precision}{tried}: {refusal.message}",
        hint=f"use precision: fp32, which this builder takes{pattern}; please report it with the model",
    )
    error.nodes = tuple(keep) or refusal.nodes
    return error


@contextlib.contextmanager
def located(graph: Path, source: Path) -> Iterator[None]:
    """Add the nodes of the backend's graph, under the source's names, to its errors."""
    try:
        yield
    except ConvertError as error:
        with contextlib.suppress(ImportError):
            from ..onnx_graph import model_file
            from ..onnx_graph.surroundings import Surroundings

            found = Surroundings(model_file.load(graph))
            by_builder = not error.nodes
            refused = found.computing(error.nodes or _words(error.said or error.message))
            error.nodes = tuple(refused)
            error.around = tuple(found.near(refused, _AROUND))
            if by_builder and error.code == "onnx-unsupported-operator":
                error.hint += parser_errors.advice(source, refused, decided=True)
        raise


def _words(message: str) -> Sequence[str]:
    """Return what may be names of nodes in a builder's message. It adds numbers and suffixes to them."""
    words: FrozenSet[str] = frozenset(
        part.strip("'\"`.:;,")
        for word in message.translate(str.maketrans("()[]{}", "      ")).split()
        for part in (word, *word.split("..."))
    )
    return sorted(words | {part.rpartition("_")[0] for part in words} - {""})
