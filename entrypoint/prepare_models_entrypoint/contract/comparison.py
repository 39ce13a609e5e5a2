"""How an engine and its source model compare: the part of the report that a verification writes."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, TypedDict


class OutputComparison(TypedDict):
    """How far one output is from the reference, over all samples; metrics as in ``contract.verification.Thresholds``.

    elements: values compared. non_finite: values that are finite in only one of the two. problems: missed thresholds.
    disagreeing: for whole numbers, how many differ; otherwise, how many places have their largest value at another
    index. histogram: ``counts`` of absolute differences; the first bin ends at 10**lowest, each next one is
    1/per_decade of a decade wide. points: some [reference, candidate] values.
    """

    name: str
    dtype: str
    elements: int
    non_finite: int
    mean_abs: float
    max_abs: Optional[float]
    max_rel: Optional[float]
    max_of_range: Optional[float]
    cosine: Optional[float]
    argmax: Optional[float]
    disagreeing: Optional[int]
    thresholds: Dict[str, float]
    problems: List[str]
    histogram: Dict[str, Any]
    points: List[List[float]]


class Latency(TypedDict):
    """Time of one execution, copies included. ``execution_memory_bytes``: GPU memory without the weights."""

    iterations: int
    throughput_per_s: float
    median_ms: float
    p99_ms: float
    execution_memory_bytes: Optional[int]


class TensorScale(TypedDict):
    """The range that a tensor's scale can hold, and the tensor's largest absolute value on the samples."""

    tensor: str
    holds: float
    reached: float


class ScaleFit(TypedDict):
    """How the scales of a calibration cache fit the samples of a verification.

    median_room: median over the tensors of the scale's range divided by the value reached. problem: None within
    ``limit``. judged: whether a problem refuses the engine. widest: the tensors with the most room.
    """

    tensors: int
    median_room: float
    limit: float
    problem: Optional[str]
    judged: bool
    widest: List[TensorScale]


class Verification(TypedDict):
    """What was compared with what, and how it came out.

    verdict: passed, failed or not-compared. statement: the same in words. candidate: engine, rewritten-onnx or None.
    origin: node and tensor at which a failed rewritten model first departs from its source; None if not searched for.
    scales: None without a calibration cache, and in records of versions that didn't check them.
    engine_not_run, latency_absent: why the engine was not run or timed; None if it was. settings: the ``verify`` of the
    job.
    """

    verdict: str
    statement: str
    reference: str
    candidate: Optional[str]
    engine_not_run: Optional[str]
    samples: str
    outputs: List[OutputComparison]
    origin: Optional[str]
    scales: Optional[ScaleFit]
    latency: Optional[Latency]
    latency_absent: Optional[str]
    settings: Dict[str, object]


def missed(outputs: Sequence[OutputComparison], scales: Optional[ScaleFit]) -> List[str]:
    """Return a sentence for each number that missed its threshold: outputs by name, then the scales."""
    problems = [f"{output['name']}: {problem}" for output in outputs for problem in output["problems"]]
    if scales is not None and scales["judged"] and scales["problem"] is not None:
        problems.append(scales["problem"])
    return problems
