"""How far apart two results are, accumulated over samples. Uses only numpy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from ..contract.comparison import OutputComparison
from ..contract.verification import Thresholds

if TYPE_CHECKING:
    from ..onnx_graph.meaning import Meaning

# Bounds of the histogram's bins: powers of ten of the absolute difference, four bins per decade.
_LOWEST, _HIGHEST, _PER_DECADE = -8, 4, 4
_POINTS = 64
# Saturated outputs near 0 have hardly any range: their error counts as if they had this one.
_SMALLEST_RANGE = 1e-3
_SMALLEST_OF_PART = 0.25  # of values that are joined with others: scores of an image that shows nothing are near 0
_FEWEST_STEPS = 16  # between whole numbers that are amounts; with fewer, such as 0 and 1, they are as good as labels
_NO_NUMBERS = "OSU"  # kinds of dtypes: maps, which classifiers make, and text


class OutputMetrics:
    """Compares one output, sample by sample; ``reference`` is right by definition.

    Whole numbers that are quantities may be off by a little. Of values of several kinds, each has its own range.
    """

    def __init__(self, name: str, axis: int, meaning: Optional["Meaning"] = None) -> None:
        self.name, self.axis = name, axis
        self._is_quantity = meaning is not None and name in meaning.quantities
        self._kinds: Any = meaning.kinds.get(name) if meaning is not None else None
        count = 0 if self._kinds is None else int(self._kinds.max()) + 1
        self._parts = [OutputMetrics(name, axis) for _ in range(count)]
        self.dtype = ""
        self.elements = self.non_finite = 0
        self.max_abs = self.max_rel = self._sum_abs = 0.0
        self._products = np.zeros(3)
        self._low, self._high, self._single = math.inf, -math.inf, True
        self._agreeing = self._judged = 0
        self._counts = np.zeros((_HIGHEST - _LOWEST) * _PER_DECADE + 1, np.int64)
        self._points: List[Tuple[float, float]] = []
        self.problem: Optional[str] = None

    def add(self, reference: Any, candidate: Any) -> None:
        """Add the results of one sample."""
        first, second = np.asarray(reference), np.asarray(candidate)
        self.dtype = str(first.dtype)
        if first.shape != second.shape:
            self.problem = f"shape {second.shape} instead of {first.shape}"
            return
        if first.dtype.kind in _NO_NUMBERS:
            return
        for part, where in self._of_kinds(first):
            part.add(first[where], second[where])
        self._agree(first, second)
        wide_first, wide_second = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
        finite = np.isfinite(wide_first) & np.isfinite(wide_second)
        both = ~finite & ((wide_first == wide_second) | (np.isnan(wide_first) & np.isnan(wide_second)))
        self.elements += wide_first.size
        self.non_finite += int((~finite & ~both).sum())
        self._single = self._single and first.size == 1
        self._distances(wide_first[finite], wide_second[finite])

    def among(self, reference: Any) -> None:
        """Take what the reference says of a sample that is not compared: its values count for the range alone."""
        first = np.asarray(reference)
        if first.dtype.kind in _NO_NUMBERS:
            return
        for part, where in self._of_kinds(first):
            part.among(first[where])
        finite = first[np.isfinite(first)] if first.dtype.kind == "f" else first
        self._single = self._single and first.size == 1
        if finite.size:
            self._low, self._high = min(self._low, float(finite.min())), max(self._high, float(finite.max()))

    def _of_kinds(self, values: Any) -> "Iterator[Tuple[OutputMetrics, Any]]":
        """Yield the metrics of each kind, and where its values are."""
        for number, part in enumerate(self._parts if np.shape(self._kinds) == values.shape else ()):
            yield part, self._kinds == number

    def _distances(self, first: Any, second: Any) -> None:
        if not first.size:
            return
        apart = np.abs(first - second)
        self.max_abs = max(self.max_abs, float(apart.max()))
        self._sum_abs += float(apart.sum())
        self._low, self._high = min(self._low, float(first.min())), max(self._high, float(first.max()))
        known = first != 0
        if known.any():
            self.max_rel = max(self.max_rel, float((apart[known] / np.abs(first[known])).max()))
        self._products += (first @ second, first @ first, second @ second)
        exponent = np.log10(np.maximum(apart, 10.0**_LOWEST))
        bins = np.clip(np.ceil((exponent - _LOWEST) * _PER_DECADE), 0, len(self._counts) - 1).astype(np.int64)
        self._counts += np.bincount(bins, minlength=len(self._counts))
        if len(self._points) < _POINTS:
            picked = np.linspace(0, first.size - 1, min(_POINTS, first.size)).astype(np.int64)
            self._points += list(zip(first[picked].tolist(), second[picked].tolist()))

    def _agree(self, first: Any, second: Any) -> None:
        if first.dtype.kind in "iub":
            same = first == second
        elif first.ndim > max(self.axis, -self.axis - 1) and first.shape[self.axis] > 1:
            same = first.argmax(self.axis) == second.argmax(self.axis)
        else:
            return
        self._agreeing, self._judged = self._agreeing + int(same.sum()), self._judged + same.size

    def of_range(self) -> Optional[float]:
        """Return the largest difference over the reference's range; over its magnitude if an output is one number.

        Of several kinds of values, the largest of all counts.
        """
        if self._is_whole():
            return None
        parts = (part.over_range(_SMALLEST_OF_PART) for part in self._parts if part.elements)
        return max((self._of_all_kinds(), *parts))

    def over_range(self, least: float) -> float:
        """Return the largest difference over the reference's range, which counts as ``least`` or more."""
        return self.max_abs / max(self._high - self._low, least)

    def _of_all_kinds(self) -> float:
        if self._low > self._high:
            return 0.0
        largest = max(abs(self._low), abs(self._high))
        spread = largest if self._single or self._low == self._high else self._high - self._low
        return self.max_abs / max(spread, _SMALLEST_RANGE)

    def _is_whole(self) -> bool:
        is_amount = self._is_quantity and self._high - self._low >= _FEWEST_STEPS
        return not is_amount and self.dtype.startswith(("int", "uint", "bool"))

    def result(self, limits: Thresholds, *, named: bool, asked: bool = True) -> OutputComparison:
        """Return the metrics, and the thresholds that they miss.

        Args:
            limits: the thresholds.
            named: whether the thresholds were given for this output.
            asked: whether the user set the thresholds; by default, argmax judges only whole numbers.
        """
        whole = self._is_whole()
        values: Dict[str, Optional[float]] = {
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
            "max_of_range": self.of_range(),
            "cosine": None if whole else self._cosine(),
            "argmax": self._agreeing / self._judged if self._judged else None,
        }
        return OutputComparison(
            name=self.name,
            dtype=self.dtype,
            elements=self.elements,
            non_finite=self.non_finite,
            mean_abs=self._sum_abs / self.elements if self.elements else 0.0,
            max_abs=values["max_abs"],
            max_rel=values["max_rel"],
            max_of_range=values["max_of_range"],
            cosine=values["cosine"],
            argmax=values["argmax"],
            disagreeing=self._judged - self._agreeing if self._judged else None,
            thresholds={name: limit for name, limit in limits.limits().items() if limit is not None},
            problems=self._problems(values, limits if asked else self._defaults(limits), named),
            histogram={"lowest": _LOWEST, "per_decade": _PER_DECADE, "counts": self._counts.tolist()},
            points=[list(point) for point in self._points],
        )

    def _defaults(self, limits: Thresholds) -> Thresholds:
        """Return default limits without those that are meaningless for this output.

        Among thousands of anchors there is no largest class, saturated values near 0 have no direction, and the same
        amount may be rounded up and down.
        """
        if self._is_whole():
            return limits
        if self._is_quantity and self.max_abs <= 1:
            limits = replace(limits, max_of_range=None)
        saturated = max(abs(self._low), abs(self._high)) < _SMALLEST_RANGE
        return replace(limits, argmax=None, cosine=None if saturated else limits.cosine)

    def _cosine(self) -> float:
        dot, first, second = self._products
        if first == 0 or second == 0:
            return 1.0 if first == second else 0.0
        return float(dot / math.sqrt(first) / math.sqrt(second))

    def _problems(self, values: Dict[str, Optional[float]], limits: Thresholds, named: bool) -> List[str]:
        problems = [self.problem] if self.problem else []
        if self.non_finite:
            problems.append(f"{self.non_finite} values are finite in only one result")
        for name, limit in limits.limits().items():
            value = values[name]
            if limit is None:
                continue
            if value is None:
                problems += [f"{name} is not defined for this output"] if named else []
            elif name.startswith("max_") and value > limit:
                problems.append(f"{name} {value:.6g}, at most {limit:g} is allowed")
            elif name == "argmax" and value < limit and self._is_whole():
                differ = f"{self._judged - self._agreeing} of {self._judged} elements differ"
                problems.append(f"{name} {value:.6f}, at least {limit:g} is required: {differ}")
            elif name in ("cosine", "argmax") and value < limit:
                problems.append(f"{name} {value:.6f}, at least {limit:g} is required")
        return problems
