"""ONNX Runtime's part of rewriting, in a process of its own: it has died of models that it was to simplify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..contract.files import write_atomic
from ..processes import die_with_parent, show_as

Feed = Dict[str, Any]

_LARGE = 1 << 30  # bytes of a model whose weights are written beside it
# Ranges of random whole numbers, widest first: what indexes into something must be small, but all zeros show nothing.
_WHOLE_RANGES = ((0, 256), (1, 17), (0, 2))
_SEED = 2026


def main(arguments: Sequence[str]) -> int:
    """Do what the request asks, and write the answer to its result file."""
    request: Dict[str, Any] = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    die_with_parent(request["parent"])
    show_as("prepare-rewrite")
    answer = {"fold": _fold, "compare": _compare}[request["task"]](request)
    write_atomic(request["result"], json.dumps(answer).encode("utf-8"), mode=0o600)
    return 0


def _fold(request: Dict[str, Any]) -> Dict[str, Any]:
    """Write the model with what its constants decide worked out."""
    import onnxruntime

    options = _options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = request["target"]
    if Path(request["source"]).stat().st_size > _LARGE:
        weights = Path(request["target"]).name + ".folded"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    try:
        onnxruntime.InferenceSession(request["source"], options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # the library's exceptions have no common type but this
        return {"why_not": _first_line(error)}
    return {"why_not": None}


def _compare(request: Dict[str, Any]) -> Dict[str, Any]:
    """Run both models on the same random inputs: the worst difference of each output by the output's range."""
    import onnxruntime

    options = _options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(request["source"], options, providers=["CPUExecutionProvider"])
        feed, expected = _reference(session, request["shapes"], request["values"])
        names = [value.name for value in session.get_outputs()]
        del session
    except Exception as error:  # noqa: BLE001  # as above; then there is nothing to compare with
        return {"why_not": f"ONNX Runtime can't run the source model: {_first_line(error)}", "outputs": {}}
    try:
        session = onnxruntime.InferenceSession(request["rewritten"], options, providers=["CPUExecutionProvider"])
        wanted = {value.name for value in session.get_inputs()}
        shared = [name for name in names if name in {value.name for value in session.get_outputs()}]
        found = session.run(shared, {name: value for name, value in feed.items() if name in wanted})
    except Exception as error:  # noqa: BLE001  # as above; then the rewriting broke the model
        return {"why_not": None, "outputs": {"": _first_line(error)}}
    by_name = dict(zip(names, expected))
    apart = {name: _distance(by_name[name], value) for name, value in zip(shared, found)}
    return {"why_not": None if shared else "no output of the source model is left", "outputs": apart}


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _reference(
    session: Any, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Sequence[float]]
) -> Tuple[Feed, List[Any]]:
    """Return random inputs on which the source model runs, and its results."""
    failure: Optional[Exception] = None
    for low, high in _WHOLE_RANGES:
        feed = {each.name: _random(each, shapes, values, low, high) for each in session.get_inputs()}
        try:
            return feed, list(session.run(None, feed))
        except Exception as error:  # noqa: BLE001  # an index that is too large, for instance: the next range is smaller
            failure = error
    raise failure or ValueError("nothing was tried")


def _random(
    value: Any, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Sequence[float]], low: int, high: int
) -> Any:
    random = np.random.default_rng([_SEED, len(value.name), *value.name.encode("utf-8")])
    kind = _TYPES[value.type]
    declared = [size if isinstance(size, int) and size >= 0 else 1 for size in value.shape]
    shape = tuple(shapes.get(value.name, declared))
    if value.name in values:
        return np.broadcast_to(
            np.array(values[value.name]).astype(kind).reshape(_fitting(values[value.name], shape)), shape
        )
    if np.dtype(kind).kind == "f":
        return random.uniform(-1, 1, shape).astype(kind)
    return random.integers(low, 2 if kind is np.bool_ else high, shape).astype(kind)


def _fitting(values: Sequence[float], shape: Tuple[int, ...]) -> Tuple[int, ...]:
    return shape if len(values) == int(np.prod(shape)) else ()


_TYPES: Dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}  # fmt: skip


def _distance(expected: Any, found: Any) -> "float | str":
    """Return the largest difference by the range of the expected values, or what makes a comparison pointless."""
    first, second = np.asarray(expected), np.asarray(found)
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"{second.dtype}{second.shape} instead of {first.dtype}{first.shape}"
    if not first.size:
        return 0.0
    if first.dtype.kind != "f":
        return float((first != second).mean())
    wide, other = first.astype(np.float64), second.astype(np.float64)
    if not np.array_equal(np.isfinite(wide), np.isfinite(other)):
        return "values that are finite in one result alone"
    finite = np.isfinite(wide)
    if not finite.any():
        return 0.0
    wide, other = wide[finite], other[finite]
    scale = max(float(wide.max() - wide.min()), float(np.abs(wide).max()), 1e-6)
    return float(np.abs(wide - other).max() / scale)
