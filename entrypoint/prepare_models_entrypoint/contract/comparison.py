"""How an engine and its source model compare: the part of the report that a verification writes.

What a field means is said in ``reports/fields.json`` of the orchestrator.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, TypedDict


class OutputComparison(TypedDict):
    """How far one output is from the reference, over all samples; metrics as in ``verification.Thresholds``."""

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
    """Time of one execution, copies included."""

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
    """How the scales of a calibration cache fit the samples of a verification. ``limit``: of ``median_room``."""

    tensors: int
    median_room: float
    limit: float
    problem: Optional[str]
    judged: bool
    widest: List[TensorScale]


class Verification(TypedDict):
    """What was compared with what, and how it came out."""

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
