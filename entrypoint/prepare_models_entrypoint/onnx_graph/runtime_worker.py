"""ONNX Runtime's part of rewriting, in a separate process: it has crashed on models that it should simplify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional, Sequence, Tuple, TypedDict, Union

import numpy as np

from ..contract.files import pass_on
from ..processes import die_with_parent, show_as
from ..third_party import ThirdPartyError, third_party

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, NodeArg

    Array = NDArray[np.generic]

Distance = Union[float, str]

_LARGE = 1 << 30  # bytes; a larger model's weights are written next to it
# Ranges of random whole numbers, widest first: indices must be small, but all zeros reveal nothing.
_WHOLE_RANGES = ((0, 256), (1, 17), (0, 2))
_SEED = 2026


class Request(TypedDict, total=False):
    """What to do. ``shapes`` and ``values``: those of the inputs that the manifest fixes, by name."""

    task: str
    parent: int
    result: str
    source: str
    target: str
    rewritten: str
    shapes: Dict[str, List[int]]
    values: Dict[str, List[float]]


class Answer(TypedDict):
    """The result. ``why_not``: why there is none. ``outputs``: the error of each, relative to the output's range."""

    why_not: Optional[str]
    outputs: Dict[str, Distance]


def main(arguments: Sequence[str]) -> int:
    """Carry out the request, and write the answer to its result file."""
    request: Request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    die_with_parent(request["parent"])
    show_as("prepare-rewrite")
    answer = {"fold": _fold, "compare": _compare, "run": _run}[request["task"]](request)
    pass_on(request["result"], json.dumps(answer).encode("utf-8"))
    return 0


def _fold(request: Request) -> Answer:
    """Write the model with everything folded that its constants decide."""
    import onnxruntime

    large = Path(request["source"]).stat().st_size > _LARGE
    weights = Path(request["target"]).name + ".folded" if large else None
    try:
        with third_party():
            _session(
                request["source"],
                onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
                optimized=request["target"],
                weights=weights,
            )
    except ThirdPartyError as error:
        return _not_done(error)
    return Answer(why_not=None, outputs={})


def _run(request: Request) -> Answer:
    """Run the model on random inputs."""
    try:
        with third_party():
            _reference(_plain_session(request["source"]), request["shapes"], request["values"])
    except ThirdPartyError as error:
        return _not_done(error)
    return Answer(why_not=None, outputs={})


def _compare(request: Request) -> Answer:
    """Run both models on the same random inputs: return the worst difference of each output relative to its range."""
    try:
        with third_party():
            session = _plain_session(request["source"])
            feed, expected = _reference(session, request["shapes"], request["values"])
    except ThirdPartyError as error:
        return _not_done(f"ONNX Runtime can't run the source model: {error}")
    names = [value.name for value in session.get_outputs()]
    del session
    try:
        with third_party():
            session = _plain_session(request["rewritten"])
            wanted = {value.name for value in session.get_inputs()}
            shared = [name for name in names if name in {value.name for value in session.get_outputs()}]
            found = session.run(shared, {name: value for name, value in feed.items() if name in wanted})
    except ThirdPartyError as error:  # the rewriting broke the model
        return Answer(why_not=None, outputs={"": str(error)})
    by_name = dict(zip(names, expected))
    apart = {name: _distance(by_name[name], np.asarray(value)) for name, value in zip(shared, found)}
    return Answer(why_not=None if shared else "no output of the source model is left", outputs=apart)


def _not_done(why: object) -> Answer:
    return Answer(why_not=str(why), outputs={})


def _plain_session(model: str) -> InferenceSession:
    import onnxruntime

    return _session(model, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)


def _session(
    model: str, level: object, *, optimized: Optional[str] = None, weights: Optional[str] = None
) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    if optimized is not None:
        options.optimized_model_filepath = optimized
    if weights is not None:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _reference(
    session: InferenceSession, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Sequence[float]]
) -> "Tuple[Dict[str, Array], List[Array]]":
    """Return random inputs on which the source model runs, and its results.

    Raises:
        ThirdPartyError: it runs on none of them.
    """
    failure = ThirdPartyError("nothing was tried")
    replaced = [each for each in session.get_overridable_initializers() if each.name in values]
    for low, high in _WHOLE_RANGES:
        feed = {each.name: _random(each, shapes, values, low, high) for each in (*session.get_inputs(), *replaced)}
        try:
            with third_party():
                return feed, [np.asarray(value) for value in session.run(None, feed)]
        except ThirdPartyError as error:  # for instance, an index that is too large: the next range is smaller
            failure = error
    raise failure


def _random(
    value: NodeArg, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Sequence[float]], low: int, high: int
) -> Array:
    random = np.random.default_rng([_SEED, len(value.name), *value.name.encode("utf-8")])
    kind = np.dtype(_TYPES[value.type])
    declared = [size if isinstance(size, int) and size >= 0 else 1 for size in value.shape]
    shape = tuple(shapes.get(value.name, declared))
    if value.name in values:
        given = np.array(values[value.name]).astype(kind)
        return np.broadcast_to(given.reshape(_fitting(values[value.name], shape)), shape)
    if kind.kind == "f":
        return random.uniform(-1, 1, shape).astype(kind)
    return random.integers(low, 2 if kind.kind == "b" else high, shape).astype(kind)


def _fitting(values: Sequence[float], shape: Tuple[int, ...]) -> Tuple[int, ...]:
    return shape if len(values) == int(np.prod(shape)) else ()


_TYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(int16)": "int16", "tensor(int8)": "int8", "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64", "tensor(bool)": "bool",
}  # fmt: skip


def _distance(first: Array, second: Array) -> Distance:
    """Return the largest difference relative to the range of the expected values, or why they can't be compared."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"{second.dtype}{second.shape} instead of {first.dtype}{first.shape}"
    if not first.size:
        return 0.0
    if first.dtype.kind != "f":
        return float((first != second).mean())
    wide, other = first.astype(np.float64), second.astype(np.float64)
    if not np.array_equal(np.isfinite(wide), np.isfinite(other)):
        return "values that are finite in only one result"
    finite = np.isfinite(wide)
    if not finite.any():
        return 0.0
    wide, other = wide[finite], other[finite]
    scale = max(float(wide.max() - wide.min()), float(np.abs(wide).max()), 1e-6)
    return float(np.abs(wide - other).max() / scale)
