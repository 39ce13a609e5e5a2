"""ONNX Runtime's part of rewriting, in a separate process: it has crashed on models that it should simplify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, TypedDict, Union

import numpy as np

from ..contract.files import pass_on
from ..processes import die_with_parent, show_as
from ..third_party import ThirdPartyError, third_party

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, NodeArg, SessionOptions

    Array = NDArray[np.generic]

Distance = Union[float, str]

_PROVIDERS = ["CPUExecutionProvider"]
_LARGE = 1 << 30  # bytes; a larger model's weights are written next to it
# Ranges of random whole numbers, widest first: indices must be small, but all zeros reveal nothing.
_WHOLE_RANGES = ((0, 256), (1, 17), (0, 2))
_SEED = 2026

# numpy's type for each type of an input that it has.
TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(int8)": np.int8, "tensor(int16)": np.int16, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8, "tensor(uint16)": np.uint16, "tensor(uint32)": np.uint32, "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
}  # fmt: skip


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
    try:
        with third_party():
            answer = {"fold": _fold, "compare": _compare, "run": _run}[request["task"]](request)
    except ThirdPartyError as error:
        answer = Answer(why_not=str(error), outputs={})
    pass_on(request["result"], json.dumps(answer).encode("utf-8"))
    return 0


def _fold(request: Request) -> Answer:
    """Write the model with everything folded that its constants decide."""
    import onnxruntime

    options = _options(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    options.optimized_model_filepath = request["target"]
    if Path(request["source"]).stat().st_size > _LARGE:
        weights = Path(request["target"]).name + ".folded"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    onnxruntime.InferenceSession(request["source"], options, providers=_PROVIDERS)
    return Answer(why_not=None, outputs={})


def _run(request: Request) -> Answer:
    """Run the model on random inputs."""
    _reference(_session(request["source"]), request["shapes"], request["values"])
    return Answer(why_not=None, outputs={})


def _compare(request: Request) -> Answer:
    """Run both models on the same random inputs: return the worst difference of each output relative to its range."""
    try:
        with third_party():
            session = _session(request["source"])
            feed, expected = _reference(session, request["shapes"], request["values"])
    except ThirdPartyError as error:
        return Answer(why_not=f"ONNX Runtime can't run the source model: {error}", outputs={})
    names = [value.name for value in session.get_outputs()]
    del session
    try:
        with third_party():
            session = _session(request["rewritten"])
            wanted = {value.name for value in session.get_inputs()}
            shared = [name for name in names if name in {value.name for value in session.get_outputs()}]
            found = session.run(shared, {name: value for name, value in feed.items() if name in wanted})
    except ThirdPartyError as error:  # the rewriting broke the model
        return Answer(why_not=None, outputs={"": str(error)})
    by_name = dict(zip(names, expected))
    apart = {name: _distance(by_name[name], np.asarray(value)) for name, value in zip(shared, found)}
    return Answer(why_not=None if shared else "no output of the source model is left", outputs=apart)


def _session(model: str) -> InferenceSession:
    import onnxruntime

    options = _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    return onnxruntime.InferenceSession(model, options, providers=_PROVIDERS)


def _options(level: object) -> SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.graph_optimization_level = 4, level
    return options


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
    kind = np.dtype(TYPES[value.type])
    declared = [size if isinstance(size, int) and size >= 0 else 1 for size in value.shape]
    shape = tuple(shapes.get(value.name, declared))
    if value.name in values:
        given = np.array(values[value.name]).astype(kind)
        return np.broadcast_to(given.reshape(shape if given.size == int(np.prod(shape)) else ()), shape)
    if kind.kind == "f":
        return random.uniform(-1, 1, shape).astype(kind)
    return random.integers(low, 2 if kind.kind == "b" else high, shape).astype(kind)


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
