"""How far two results are apart, summed up over samples. numpy alone."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ..contract.report import OutputComparison
from ..contract.verification import Thresholds

# Bounds of the histogram's bins: powers of ten of the absolute difference, four bins to a decade.
_LOWEST, _HIGHEST, _PER_DECADE = -8, 4, 4
_POINTS = 64


class OutputMetrics:
    """Compares one output, sample by sample: ``reference`` is right by definition."""

    def __init__(self, name: str, axis: int) -> None:
        self.name, self.axis = name, axis
        self.dtype = ""
        self.elements = self.non_finite = 0
        self.max_abs = self.max_rel = self._sum_abs = 0.0
        self._products = np.zeros(3)
        self._agreeing = self._judged = 0
        self._counts = np.zeros((_HIGHEST - _LOWEST) * _PER_DECADE + 1, np.int64)
        self._points: List[Tuple[float, float]] = []
        self.problem: Optional[str] = None

    def add(self, reference: Any, candidate: Any) -> None:
        """Take the results of one sample."""
        first, second = np.asarray(reference), np.asarray(candidate)
        self.dtype = str(first.dtype)
        if first.shape != second.shape:
            self.problem = f"shape {second.shape} instead of {first.shape}"
            return
        self._agree(first, second)
        wide_first, wide_second = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
        finite = np.isfinite(wide_first) & np.isfinite(wide_second)
        both = ~finite & ((wide_first == wide_second) | (np.isnan(wide_first) & np.isnan(wide_second)))
        self.elements += wide_first.size
        self.non_finite += int((~finite & ~both).sum())
        self._distances(wide_first[finite], wide_second[finite])

    def _distances(self, first: Any, second: Any) -> None:
        if not first.size:
            return
        apart = np.abs(first - second)
        self.max_abs = max(self.max_abs, float(apart.max()))
        self._sum_abs += float(apart.sum())
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

    def result(self, limits: Thresholds, *, named: bool) -> OutputComparison:
        """Return the numbers, and the problems with them. ``named``: the thresholds were given for this very output."""
        whole = self.dtype.startswith(("int", "uint", "bool"))
        values: Dict[str, Optional[float]] = {
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
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
            cosine=values["cosine"],
            argmax=values["argmax"],
            thresholds={name: limit for name, limit in limits.limits().items() if limit is not None},
            problems=self._problems(values, limits, named),
            histogram={"lowest": _LOWEST, "per_decade": _PER_DECADE, "counts": self._counts.tolist()},
            points=[list(point) for point in self._points],
        )

    def _cosine(self) -> float:
        dot, first, second = self._products
        if first == 0 or second == 0:
            return 1.0 if first == second else 0.0
        return float(dot / math.sqrt(first) / math.sqrt(second))

    def _problems(self, values: Dict[str, Optional[float]], limits: Thresholds, named: bool) -> List[str]:
        problems = [self.problem] if self.problem else []
        if self.non_finite:
            problems.append(f"{self.non_finite} values are finite in one result alone")
        for name, limit in limits.limits().items():
            value = values[name]
            if limit is None:
                continue
            if value is None:
                problems += [f"{name} is not defined for this output"] if named else []
            elif name in ("max_abs", "max_rel") and value > limit:
                problems.append(f"{name} {value:.6g}, at most {limit:g} is allowed")
            elif name in ("cosine", "argmax") and value < limit:
                problems.append(f"{name} {value:.6f}, at least {limit:g} is required")
        return problems
