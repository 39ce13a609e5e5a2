"""Which activations int8 harms: those that have to stay out of it for the outputs to be right on the samples.

Where all of them in int8 move the outputs too far, each is tried alone, and the worst are left out until the outputs
are right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from onnx import ModelProto

from . import graph, quantize, types
from .layers import Finder
from .segments import Segments, Values

# Values that all runs with a single activation in int8 may compute together: about a minute on two cores.
_MOST_VALUES = 4e9

# Tells whether outputs of the samples are near enough to those of the source.
IsRight = Callable[[Sequence[Tuple[Values, Values]]], bool]


@dataclass(frozen=True)
class Harm:
    """left_out: activations that stay out of int8, with how far each alone moves an output, over its deviation.

    right: whether the outputs are right without them. served: activations that remain.
    """

    left_out: Mapping[str, float]
    right: bool
    served: int


def search(
    model: ModelProto, scales: Mapping[str, float], feeds: Sequence[Mapping[str, Any]], is_right: IsRight, *,
    keep: AbstractSet[str] = frozenset(), values: float = 0.0,
) -> Harm:  # fmt: skip
    """Return what has to stay out of int8.

    Args:
        model: fp32, as ``prepare`` returns it, batch normalization folded. It is left alone.
        scales: float32 scale of an activation by its name.
        feeds: a few samples.
        is_right: judges pairs of outputs: those of the model, and those with int8.
        keep: names of nodes that stay out of int8 anyway.
        values: how many values one run of the model computes.
    """
    variants = _Variants(model, scales, keep)
    names = variants.names
    sources = variants.run(feeds, ())

    def is_right_without(left_out: Sequence[str]) -> bool:
        active = [name for name in names if name not in set(left_out)]
        return is_right(list(zip(sources, variants.run(feeds, active))))

    if not names or is_right_without(()):
        return Harm({}, right=True, served=len(names))
    alone: Dict[str, float] = {}
    for group in variants.groups(values):
        moved = _moved(sources[0], variants.run(feeds[:1], group)[0])
        alone.update(dict.fromkeys(group, moved))
    worst = sorted(names, key=lambda name: -alone[name])
    count = _fewest(len(worst), lambda number: is_right_without(worst[:number]))
    left_out = {name: alone[name] for name in worst[:count]}
    return Harm(left_out, right=count < len(worst), served=len(worst) - count)


def _fewest(most: int, is_enough: Callable[[int], bool]) -> int:
    """Return the smallest number that is enough, ``most`` where none below it is."""
    low, high = 0, 1
    while high < most and not is_enough(high):
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _moved(source: Values, other: Values) -> float:
    """Return the root of the mean squared difference over the deviation of an output, the largest of all outputs."""
    found = 0.0
    for name, right in source.items():
        if not isinstance(right, np.ndarray) or right.dtype.kind != "f" or not right.size:
            continue
        if right.shape != other[name].shape:
            return float("inf")
        with np.errstate(all="ignore"):
            apart = np.nan_to_num(other[name].astype(np.float64) - right)
            deviation = float(np.nanstd(right.astype(np.float64))) or float(np.abs(right).max()) or 1.0
        found = max(found, float(np.sqrt((apart**2).mean())) / deviation)
    return found


class _Variants:
    """A model with some of its activations in int8. names: those that can be, in the order of their layers."""

    def __init__(self, model: ModelProto, scales: Mapping[str, float], keep: AbstractSet[str]) -> None:
        self._model, self._scales, self._keep = model, scales, keep
        self._all = frozenset(graph.tensor_names(model))
        layers = Finder(types.of(model), keep).layers.values()
        self.names = list(dict.fromkeys(name for layer in layers for name in layer.activations() if name in scales))

    def run(self, feeds: Sequence[Mapping[str, Any]], active: Sequence[str]) -> List[Values]:
        """Return the outputs of each sample with these activations in int8."""
        variant = ModelProto()
        variant.CopyFrom(self._model)
        quantize.insert(variant, {name: self._scales[name] for name in active}, names=self._all, keep=self._keep)
        segments = Segments(variant)
        return [segments.run(feed) for feed in feeds]

    def groups(self, values: float) -> List[List[str]]:
        """Return the activations that are tried together, one each where that does not take too long."""
        size = max(1, math.ceil(len(self.names) * values / _MOST_VALUES))
        return [self.names[start : start + size] for start in range(0, len(self.names), size)]
