"""The range of a tensor over samples, and the largest value that its int8 form should hold."""

from __future__ import annotations

from typing import Any

import numpy as np

_BINS = 4096
_LEVELS = 128  # levels of the magnitude: scales are symmetric
_STRIDE = 16
_PERCENTILE = 99.99
_COUNTED = 1 << 18  # values of one sample: of twice as many, every third one is counted, as sizes are often even
_EXACT = 2.0**-100  # between this and its inverse, float32 scales magnitudes by powers of two without loss


class Range:
    """The observed range of a float tensor. most: its largest finite magnitude.

    counts: how often magnitudes occurred, in equal bins from 0 to ``top``, a power of two; kept if ``counted``.
    """

    def __init__(self, *, counted: bool) -> None:
        self.most = self._second = 0.0
        self.top = 0.0
        self.counts: Any = np.zeros(_BINS, np.int64) if counted else None

    def take(self, values: Any) -> None:
        """Add the values of one sample."""
        flat = values.reshape(-1)
        most = _most(flat)
        if not np.isfinite(most):
            flat = flat[np.isfinite(flat)]
            most = _most(flat)
        self._second = max(self._second, min(self.most, most))
        self.most = max(self.most, most)
        if self.counts is not None and flat.size:
            every = flat[:: flat.size // _COUNTED | 1]
            self._count(np.abs(every).astype(np.float32, copy=False), most)

    @property
    def without(self) -> float:
        """The largest magnitude without the sample that has ``most``; ``most`` if no other one has any."""
        return self._second or self.most

    def _count(self, magnitudes: Any, most: float) -> None:
        if most > self.top:
            self._grow(most)
        if not self.top:
            self.counts[0] += magnitudes.size
            return
        kind = np.float32 if _EXACT < self.top < 1 / _EXACT else np.float64
        places = (magnitudes * kind(_BINS / self.top)).astype(np.intp)
        self.counts += np.bincount(np.minimum(places, _BINS - 1), minlength=_BINS)

    def _grow(self, most: float) -> None:
        """Raise ``top`` to a power of two that covers ``most``, and merge bins so that their number stays the same."""
        top = 2.0 ** np.ceil(np.log2(most))
        factor = min(_BINS, int(top / self.top)) if self.top else 1
        joined = self.counts.reshape(-1, factor).sum(axis=1) if factor > 1 else self.counts
        self.counts = np.zeros(_BINS, np.int64)
        self.counts[: joined.size] = joined
        self.top = float(top)


def largest(values: Any) -> float:
    """Return the largest finite magnitude, 0 if there is none."""
    most = _most(values)
    return most if np.isfinite(most) else _most(values[np.isfinite(values)])


def _most(values: Any) -> float:
    return float(max(values.max(initial=0.0), -values.min(initial=0.0)))


def amax(seen: Range, method: str) -> float:
    """Return the largest magnitude that the int8 form of a tensor holds; values beyond it saturate.

    Args:
        seen: the tensor's range.
        method: minmax: the largest that occurred. percentile: 99.99 % of the values are within. entropy: the least loss
        of information, by the Kullback-Leibler divergence, as in TensorRT's calibrator.
    """
    if method == "minmax" or not seen.most or seen.counts is None:
        return seen.most
    width = seen.top / _BINS
    used = int(np.flatnonzero(seen.counts)[-1]) + 1
    if method == "percentile":
        within = np.cumsum(seen.counts)
        bins = int(np.searchsorted(within, within[-1] * (_PERCENTILE / 100))) + 1
    else:
        bins = _least_divergent(seen.counts[:used].astype(np.float64))
    return min(seen.most, bins * width)


def _least_divergent(counts: Any) -> int:
    """Return how many bins to keep, from the first on."""
    counts = counts.copy()
    counts[0] = counts[1] if counts.size > 1 else counts[0]  # zeros need no range
    if counts.size <= _LEVELS or not counts.any():
        return int(counts.size)
    kept = [*range(_LEVELS, counts.size, _STRIDE), counts.size]
    best: int = kept[int(np.argmin([_divergence(counts, bins) for bins in kept]))]
    return best


def _divergence(counts: Any, bins: int) -> float:
    """Return how much information is lost if the first ``bins`` become the levels of int8 and the others saturate."""
    inside = counts[:bins]
    exact = inside.copy()
    exact[-1] += counts[bins:].sum()
    level = np.arange(bins) * _LEVELS // bins
    occupied = exact > 0
    sums = np.bincount(level, inside, _LEVELS)
    places = np.bincount(level, occupied, _LEVELS)
    rounded = np.where(occupied, sums[level] / np.maximum(places[level], 1), 0)
    if not rounded.any():
        return float("inf")
    p, q = exact / exact.sum(), rounded / rounded.sum()
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))))
