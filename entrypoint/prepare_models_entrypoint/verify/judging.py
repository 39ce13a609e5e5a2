"""Checks outputs against the thresholds of a verification, and reports which come near them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Mapping, Optional, Protocol, Sequence, Set, Tuple

from ..contract.verification import Thresholds, VerifyConfig
from .metrics import OutputMetrics

if TYPE_CHECKING:
    from ..onnx_graph.meaning import Meaning

NEAR = 0.75  # of the limit: other inputs have larger errors than the samples
CALM = 0.2  # of the limit: other inputs hardly have five times the error

Values = Mapping[str, Any]


class Judge(Protocol):
    """Judges outputs of samples against those of the source, by the range that they have ``among`` others, too."""

    def __call__(self, pairs: Sequence[Tuple[Values, Values]], among: Sequence[Values] = ()) -> "Judgement":
        """Return what misses a threshold, and the largest error."""


@dataclass(frozen=True)
class Judgement:
    """What a comparison of all outputs found.

    doubtful: outputs that come near a threshold or miss it. problems: missed thresholds, by output.
    error: the largest error of any output, relative to its range; infinite where it is finite on one side only.
    calm: whether all are far from any threshold.
    tolerable: the error up to which no output is doubtful.
    """

    doubtful: Set[str]
    problems: Mapping[str, Sequence[str]]
    error: float
    calm: bool = False
    tolerable: float = math.inf


def judge(config: VerifyConfig, precision: str, *, near: float = NEAR, meaning: Optional["Meaning"] = None) -> Judge:
    """Return the judge of a model's outputs in ``precision``, by the thresholds of ``config``.

    ``near``: the share of the limit above which an output is doubtful. ``meaning``: of the outputs.
    """

    def judged(pairs: Sequence[Tuple[Values, Values]], among: Sequence[Values] = ()) -> Judgement:
        doubtful, problems, error, calm, tolerable = set(), {}, 0.0, True, math.inf
        for name in pairs[0][0]:
            limits = config.of_output(name, precision)
            metrics = OutputMetrics(name, limits.argmax_axis, meaning)
            for reference, candidate in pairs:
                metrics.add(reference[name], candidate[name])
            for reference in among:
                metrics.among(reference[name])
            asked = config.asks(name)
            missed = metrics.result(limits, named=False, asked=asked)["problems"]
            if metrics.result(_narrowed(limits, near), named=False, asked=asked)["problems"]:
                doubtful.add(name)
            calm = calm and not metrics.result(_narrowed(limits, CALM), named=False, asked=asked)["problems"]
            if missed:
                problems[name] = missed
            error = max(error, math.inf if metrics.non_finite else metrics.of_range() or 0.0)
            tolerable = min(tolerable, math.inf if limits.max_of_range is None else near * limits.max_of_range)
        return Judgement(doubtful, problems, error, calm, tolerable)

    return judged


def _narrowed(limits: Thresholds, share: float) -> Thresholds:
    """Return ``limits`` narrowed to a share, for the metrics that defaults have."""
    return replace(
        limits,
        max_of_range=None if limits.max_of_range is None else limits.max_of_range * share,
        cosine=None if limits.cosine is None else 1 - (1 - limits.cosine) * share,
    )
