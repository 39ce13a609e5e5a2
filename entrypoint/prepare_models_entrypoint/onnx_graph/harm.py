"""Which activations int8 harms: those that must not be int8 for the outputs to be right on the samples.

If the outputs move too far with all of them in int8, each is tried alone. Squares of such errors add up, so those that
harm most, relative to the computation that they bring into int8, are left out until the outputs are right. Outputs that
saturate are also compared before that: a few samples often leave them near 0, whatever int8 does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from onnx import ModelProto, TensorProto

from . import bisection, graph, quantize, saturation, types
from .layers import Finder, Layer
from .segments import Segments, Values

# Limit of values that all runs with a few int8 activations compute in total: about a minute on two cores.
_MOST_VALUES = 1e10
# Samples for each of these runs: more if they are quick, as one sample shows what another (silence, say) hides.
_FEWEST_TRIED, _MOST_TRIED, _QUICK_VALUES = 2, 8, 1e9
TOLERABLE = 0.07  # error over an output's deviation. Few samples may meet thresholds of single values by chance
_MANY = 0.5  # of the activations: where so many are left out, those that harm most go first, whatever they compute
_BETTER = 0.8  # of the error with the first choice of scales, for another to be taken

Feeds = Sequence[Mapping[str, Any]]
# Returns whether outputs of the samples are near enough to those of the source.
IsRight = Callable[[Sequence[Tuple[Values, Values]]], bool]


@dataclass(frozen=True)
class Samples:
    """Samples on which a search decides, and others on which its result is judged.

    values: how many values one run of the model computes. sizes: elements of each float tensor on a sample.
    """

    search: Feeds
    judged: Feeds
    values: float
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Harm:
    """left_out: activations that don't become int8, with how far each alone moves an output, over its deviation.

    method: of the chosen scales. right: whether the outputs are right. tried, served: activations that could be int8,
    and those that are.
    """

    method: str
    left_out: Mapping[str, float]
    right: bool
    tried: int
    served: int


def search(
    model: ModelProto, scales: Mapping[str, Mapping[str, float]], samples: Samples, is_right: IsRight, *,
    keep: AbstractSet[str] = frozenset(), tolerable: float = TOLERABLE,
) -> Harm:  # fmt: skip
    """Return which scales are best, and what must not become int8.

    Args:
        model: fp32, as ``prepare`` returns it, batch normalization folded. It is not modified.
        scales: float32 scale by name of activation, for each method; the first method is used unless another is
        clearly better.
        samples: what the model is run on.
        is_right: judges pairs of outputs: the model's, and those with int8.
        keep: names of nodes that don't become int8 in any case.
        tolerable: the root of the mean squared error that an output may have, over its deviation.
    """
    return _Search(model, scales, samples, is_right, keep, tolerable).run()


@dataclass(frozen=True)
class _Answered:
    """Samples with the outputs of the source."""

    feeds: Feeds
    right: Sequence[Values]


class _Search:
    def __init__(  # noqa: PLR0917  # what ``search`` is given
        self, model: ModelProto, scales: Mapping[str, Mapping[str, float]], samples: Samples, is_right: IsRight,
        keep: AbstractSet[str], tolerable: float,
    ) -> None:  # fmt: skip
        self._samples, self._is_right, self._tolerable = samples, is_right, tolerable
        self._outputs = [value.name for value in model.graph.output]
        self._variants = {method: _Variants(model, found, keep) for method, found in scales.items()}
        plain = next(iter(self._variants.values()))
        self._settling = _Answered(samples.search, plain.run(samples.search, ()))
        self._judging = _Answered(samples.judged, plain.run(samples.judged, ()))
        self._moved = _Deviations([*self._settling.right, *self._judging.right]).moved

    def run(self) -> Harm:
        method, right = self._best()
        variants = self._variants[method]
        names = variants.names
        if not names or (right and self._holds(variants, (), self._judging)):
            return Harm(method, {}, right=True, tried=len(names), served=len(names))
        alone = self._alone(variants)
        costs = variants.costs(self._samples.sizes)
        left_out = self._fewest(variants, alone, sorted(names, key=lambda name: -(alone[name] ** 2) / costs[name]))
        if len(left_out) > _MANY * len(names):
            others = self._fewest(variants, alone, sorted(names, key=lambda name: -alone[name]))
            left_out = min(left_out, others, key=len)
        told, served = {name: alone[name] for name in left_out}, len(names) - len(left_out)
        return Harm(method, told, right=served > 0, tried=len(names), served=served)

    def _fewest(self, variants: "_Variants", alone: Mapping[str, float], worst: Sequence[str]) -> Sequence[str]:
        """Return the activations, from the worst on, without which the outputs are right."""
        expected = bisection.expected([alone[name] for name in worst], self._tolerable)
        count = bisection.fewest(
            max(0, expected - 1), len(worst), lambda number: self._holds(variants, worst[:number], self._settling)
        )
        if count < len(worst) and not self._holds(variants, worst[:count], self._judging):
            count = bisection.fewest(count, len(worst), lambda number: self._holds_all(variants, worst[:number]))
        return worst[:count]

    def _best(self) -> Tuple[str, bool]:
        """Return the method with the best outputs, and whether these are near enough to the source's."""
        feeds, right = self._settling.feeds, self._settling.right
        found: Dict[str, Tuple[float, bool]] = {}
        for method, variants in self._variants.items():
            outputs = variants.run(feeds, variants.names)
            found[method] = self._moved(right, outputs), self._are_right(right, outputs)
        first = next(iter(found))
        best = min(found, key=lambda method: found[method][0])
        chosen = best if found[best][0] < _BETTER * found[first][0] else first
        return chosen, found[chosen][1]

    def _holds(self, variants: "_Variants", left_out: Sequence[str], on: "_Answered") -> bool:
        """Return whether the outputs are right with some activations left out of int8."""
        if not on.feeds:
            return True
        active = [name for name in variants.names if name not in set(left_out)]
        return self._are_right(on.right, variants.run(on.feeds, active))

    def _are_right(self, right: Sequence[Values], outputs: Sequence[Values]) -> bool:
        if self._moved(right, outputs) > self._tolerable:
            return False
        return self._is_right([(self._own(a), self._own(b)) for a, b in zip(right, outputs)])

    def _own(self, values: Values) -> Values:
        """Return the outputs that the model declares."""
        return {name: values[name] for name in self._outputs}

    def _holds_all(self, variants: "_Variants", left_out: Sequence[str]) -> bool:
        return all(self._holds(variants, left_out, on) for on in (self._settling, self._judging))

    def _alone(self, variants: "_Variants") -> Dict[str, float]:
        """Return how far each activation moves an output when it alone is int8."""
        names, runs = variants.names, int(_MOST_VALUES / max(1.0, self._samples.values))
        quick = int(_QUICK_VALUES / max(1.0, self._samples.values) / len(names))
        wanted = max(_FEWEST_TRIED, min(_MOST_TRIED, quick))
        tried = max(1, min(wanted, len(self._settling.feeds), runs // len(names)))
        feeds, right = self._settling.feeds[:tried], self._settling.right[:tried]
        return bisection.alone(names, runs, lambda group: self._moved(right, variants.run(feeds, group)))


class _Deviations:
    """Distances of outputs from those of the source, over each output's deviation on all samples.

    Per sample, a small error would look large on samples where an output is nearly constant.
    """

    def __init__(self, right: Sequence[Values]) -> None:
        self._of = {name: _deviation([values[name] for values in right]) for name in right[0]}

    def moved(self, sources: Sequence[Values], others: Sequence[Values]) -> float:
        """Return the root of the mean squared difference over an output's deviation, the maximum over all outputs."""
        return max(
            (_distance([s[name] for s in sources], [o[name] for o in others]) / by for name, by in self._of.items()),
            default=0.0,
        )


def _deviation(values: Sequence[Any]) -> float:
    """Return the standard deviation of all finite values; their magnitude if they are equal, 1 if they are 0."""
    floats = [value[np.isfinite(value)] for value in values if _is_float(value)]
    joined = np.concatenate([*floats, np.zeros(0)]).astype(np.float64)
    return (float(joined.std()) or float(np.abs(joined).max()) or 1.0) if joined.size else 1.0


def _distance(sources: Sequence[Any], others: Sequence[Any]) -> float:
    pairs = [(a, b) for a, b in zip(sources, others) if _is_float(a)]
    if any(a.shape != b.shape for a, b in pairs):
        return math.inf
    if not pairs:
        return 0.0
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.concatenate([(b.astype(np.float64) - a).ravel() for a, b in pairs]))
    return float(np.sqrt((apart**2).mean()))


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and bool(value.size)


class _Variants:
    """A model with some of its activations in int8. names: those that can be int8, in the order of their layers."""

    def __init__(self, model: ModelProto, scales: Mapping[str, float], keep: AbstractSet[str]) -> None:
        self._model, self._scales, self._keep = model, scales, keep
        self._all, self._looked_at = frozenset(graph.tensor_names(model)), saturation.before(model)
        self._layers = list(Finder(types.of(model), keep).layers.values())
        self.names = list(
            dict.fromkeys(name for layer in self._layers for name in layer.activations() if name in scales)
        )

    def run(self, feeds: Feeds, active: Sequence[str]) -> List[Values]:
        """Return each sample's outputs with these activations in int8, and the tensors behind those that saturate."""
        variant = ModelProto()
        variant.CopyFrom(self._model)
        quantize.insert(variant, {name: self._scales[name] for name in active}, names=self._all, keep=self._keep)
        for name in sorted(self._looked_at):
            variant.graph.output.add(name=name).type.tensor_type.elem_type = TensorProto.FLOAT
        segments = Segments(variant)
        return [segments.run(feed) for feed in feeds]

    def costs(self, sizes: Mapping[str, int]) -> Dict[str, float]:
        """Return the cost of leaving out each activation: its share of layers plus its share of multiplications."""
        found = dict.fromkeys(self.names, 1.0 / max(1, len(self.names)))
        work = [(layer, _multiplications(layer, sizes)) for layer in self._layers]
        total = sum(size for _, size in work) or 1
        for layer, size in work:
            for name in layer.activations():
                if name in found:
                    found[name] += size / total
        return found


def _multiplications(layer: Layer, sizes: Mapping[str, int]) -> int:
    """Return the number of multiplications of a layer per sample; 0 if unknown."""
    if layer.stored is None:
        return 0
    dims, axis = list(layer.stored.tensor.dims), layer.stored.axis
    elements = int(np.prod(dims, dtype=np.int64))
    if layer.node.op_type == "ConvTranspose":
        return int(sizes.get(layer.activations()[0], 0) * elements // max(1, dims[0]))
    channels = dims[axis] if axis is not None else dims[-1]
    return int(sizes.get(layer.node.output[0], 0) * elements // max(1, channels))
