"""Which activations int8 harms: those that must not be int8 for the outputs to be right on the samples.

If the outputs move too far with all of them in int8, each is tried alone. Squares of such errors add up, so those that
harm most, relative to the computation that they bring into int8, are left out until the outputs are right: also where
scales lack room for one sample's largest values, as other samples will exceed them. Outputs that saturate are also
compared before that: a few samples often leave them near 0, whatever int8 does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import AbstractSet, Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
from onnx import ModelProto, TensorProto

from . import bisection, graph, layers, macs, quantize, saturation, states, types
from .segments import Segments, Values

# Limit of values that all runs compute in total, about. Activations that are tried alone take two thirds at most; once
# it is spent, no smaller number of activations to leave out is looked for.
_MOST_VALUES = 5e10
_EVALUATIONS = 64  # of all samples, more than are ever needed, besides those of activations that are tried alone
# Samples for each of these runs: more if they are quick, as one sample shows what another (silence, say) hides.
_FEWEST_TRIED, _MOST_TRIED, _QUICK_VALUES = 2, 8, 1e9
TOLERABLE = 0.07  # error over an output's deviation. Few samples may meet thresholds of single values by chance
_MANY = 0.5  # of the activations: where so many are left out, those that harm most go first, whatever they compute
_CLEARLY = 0.8  # of its range: an activation reaches that much on all samples but one
_BETTER = 0.8  # of the error with the first choice of scales, for another to be taken

Feeds = Sequence[Mapping[str, Any]]
# Returns whether outputs are near enough to those of the source: as near as on samples that the scales hold, or (True)
# as near as on others.
IsRight = Callable[[Sequence[Tuple[Values, Values]], bool], bool]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scales:
    """Scales by activation. seen: what a method makes of all samples.

    without: of the largest magnitude on all samples but one, that with the largest of all. With these, each activation
    saturates there as it would on a sample that was never seen.
    """

    seen: Mapping[str, float]
    without: Mapping[str, float]


@dataclass(frozen=True)
class Samples:
    """Samples on which a search decides, and others on which its result is judged.

    values: how many values one run of the model computes. shapes: of each float tensor on a sample.
    """

    search: Feeds
    judged: Feeds
    values: float
    shapes: Mapping[str, Tuple[int, ...]]


@dataclass(frozen=True)
class Harm:
    """left_out: activations that don't become int8, with the reason; the worst is the first.

    method: of the chosen scales. readers: by activation that could be int8, the nodes that read it.
    """

    method: str
    left_out: Mapping[str, str]
    readers: Mapping[str, Sequence[str]]

    @property
    def served(self) -> List[str]:
        """The activations that become int8."""
        return [name for name in self.readers if name not in self.left_out]


def search(
    model: ModelProto, scales: Mapping[str, Scales], samples: Samples, is_right: IsRight, progress: Progress, *,
    keep: AbstractSet[str] = frozenset(), tolerable: float = TOLERABLE, amounts: AbstractSet[str] = frozenset(),
) -> Harm:  # fmt: skip
    """Return which scales are best, and what must not become int8.

    Args:
        model: fp32, as ``prepare`` returns it, batch normalization folded. It is not modified.
        scales: for each method; the first method is used unless another is clearly better.
        samples: what the model is run on.
        is_right: judges pairs of outputs: the model's, and those with int8.
        progress: called with the runs done, and about how many there are at most.
        keep: names of nodes that don't become int8 in any case.
        tolerable: the root of the mean squared error that an output may have, over its deviation.
        amounts: outputs of whole numbers that are no labels.
    """
    feeds, candidates = len(samples.search) + len(samples.judged), len(next(iter(scales.values())).seen)
    most = min(_MOST_VALUES / max(1.0, samples.values), feeds * (_EVALUATIONS + 6 * candidates))
    runs = _Runs(int(most), progress)
    makers = states.makers(model, samples.search[0])
    variants = {
        method: _Variants(model, found, keep, makers, runs, amounts=amounts) for method, found in scales.items()
    }
    method, alone = _Search(variants, samples, is_right, tolerable, runs).run()
    moving = {name: f"alone in int8 it moves an output by about {by:.1%}" for name, by in alone.items()}
    return Harm(method, {**moving, **variants[method].fixed}, variants[method].readers)


class _Runs:
    """Counts runs of the model. most: about how many there may be."""

    def __init__(self, most: int, progress: Progress) -> None:
        self.most, self._progress, self._done = most, progress, 0

    def add(self) -> None:
        self._done += 1
        self._progress(min(self._done, self.most), self.most)

    def left(self) -> int:
        return max(0, self.most - self._done)


class _Stage(NamedTuple):
    """Samples with the outputs of the source, and whether activations saturate on them as on unseen ones."""

    feeds: Feeds
    right: Sequence[Values]
    unseen: bool


class _Search:
    def __init__(
        self, variants: Mapping[str, "_Variants"], samples: Samples, is_right: IsRight, tolerable: float, runs: _Runs
    ) -> None:
        self._variants, self._samples, self._is_right, self._tolerable = variants, samples, is_right, tolerable
        self._runs, self._chosen = runs, next(iter(variants.values()))
        self._outputs = self._chosen.outputs
        settling, judging = (self._chosen.run(feeds, ()) for feeds in (samples.search, samples.judged))
        both = [*samples.search, *samples.judged], [*settling, *judging]
        self._stages = (
            _Stage(samples.search, settling, unseen=False), _Stage(samples.judged, judging, unseen=False),
            _Stage(*both, unseen=True),
        )  # fmt: skip
        self._moved = _Deviations(both[1], self._chosen.labels).moved
        self._known: Dict[Tuple[FrozenSet[str], int], bool] = {}

    def run(self) -> Tuple[str, Dict[str, float]]:
        """Return the method, and what is left out, the worst first, with how far each alone moves an output."""
        method, self._known[frozenset(), 0] = self._best()
        self._chosen = self._variants[method]
        names = self._chosen.names
        if not names or self._holds_all(()):
            return method, {}
        alone, costs = self._alone(), self._chosen.costs(self._samples.shapes)
        left_out = self._fewest(alone, sorted(names, key=lambda name: -(alone[name] ** 2) / costs[name]))
        by_harm = sorted(names, key=lambda name: -alone[name])
        if len(left_out) > _MANY * len(names) and self._runs.left():
            left_out = min(left_out, self._fewest(alone, by_harm), key=len)
        return method, {name: alone[name] for name in by_harm if name in set(left_out)}

    def _fewest(self, alone: Mapping[str, float], worst: Sequence[str]) -> Sequence[str]:
        """Return the activations, from the worst on, without which the outputs are right."""
        expected = bisection.expected([alone[name] for name in worst], self._tolerable)
        count = self._smallest(max(0, expected - 1), len(worst), lambda number: self._holds(worst[:number], 0))
        if count < len(worst) and not self._holds_all(worst[:count]):
            count = self._smallest(count, len(worst), lambda number: self._holds_all(worst[:number]))
        return worst[:count]

    def _smallest(self, low: int, most: int, is_enough: Callable[[int], bool]) -> int:
        return bisection.fewest(low, most, is_enough, goes_on=lambda: bool(self._runs.left()))

    def _best(self) -> Tuple[str, bool]:
        """Return the method with the best outputs, and whether these are near enough to the source's."""
        on, found = self._stages[0], {}
        for method, variants in self._variants.items():
            outputs = variants.run(on.feeds, variants.names)
            found[method] = self._moved(on.right, outputs), self._are_right(on, outputs)
        first = next(iter(found))
        best = min(found, key=lambda method: found[method][0])
        chosen = best if found[best][0] < _BETTER * found[first][0] else first
        return chosen, found[chosen][1]

    def _holds_all(self, left_out: Sequence[str]) -> bool:
        return all(self._holds(left_out, place) for place in range(len(self._stages)))

    def _holds(self, left_out: Sequence[str], place: int) -> bool:
        """Return whether the outputs of a stage are right with some activations left out of int8."""
        key, on = (frozenset(left_out), place), self._stages[place]
        if on.feeds and key not in self._known:
            active = [name for name in self._chosen.names if name not in key[0]]
            self._known[key] = self._are_right(on, self._chosen.run(on.feeds, active, unseen=on.unseen))
        return self._known.get(key, True)

    def _are_right(self, on: _Stage, outputs: Sequence[Values]) -> bool:
        if self._moved(on.right, outputs) > self._tolerable:
            return False
        return self._is_right([(self._own(a), self._own(b)) for a, b in zip(on.right, outputs)], on.unseen)

    def _own(self, values: Values) -> Values:
        """Return the outputs that the model declares."""
        return {name: values[name] for name in self._outputs}

    def _alone(self) -> Dict[str, float]:
        """Return how far each activation moves an output when it alone is int8, on unseen samples if that is more."""
        names, runs, on = self._chosen.names, self._runs.left() // 3, self._stages[0]
        quick = int(_QUICK_VALUES / max(1.0, self._samples.values) / len(names))
        wanted = max(_FEWEST_TRIED, min(_MOST_TRIED, quick))
        tried = max(1, min(wanted, len(on.feeds), runs // len(names)))
        unseen = self._stages[-1]  # among its samples is the one that makes the range
        all_run = len(unseen.feeds) * len(self._chosen.exceeded) <= runs
        exceeding = len(unseen.feeds) if all_run else tried

        def moved(group: Sequence[str]) -> float:
            found = self._moved(on.right[:tried], self._chosen.run(on.feeds[:tried], group))
            if self._chosen.exceeded.intersection(group):
                outputs = self._chosen.run(unseen.feeds[:exceeding], group, unseen=True)
                found = max(found, self._moved(unseen.right[:exceeding], outputs))
            return found

        return bisection.alone(names, runs, moved)


class _Deviations:
    """Distances of outputs from those of the source, over each output's deviation on all samples.

    Per sample, a small error would look large on samples where an output is nearly constant.
    """

    def __init__(self, right: Sequence[Values], labels: AbstractSet[str]) -> None:
        names = [name for name, value in right[0].items() if isinstance(value, np.ndarray) and name not in labels]
        self._of = {name: _deviation([values[name] for values in right]) for name in names}

    def moved(self, sources: Sequence[Values], others: Sequence[Values]) -> float:
        """Return the root of the mean squared difference over an output's deviation, the maximum over all outputs."""
        return max(
            (_distance([s[name] for s in sources], [o[name] for o in others]) / by for name, by in self._of.items()),
            default=0.0,
        )


def _deviation(values: Sequence[Any]) -> float:
    """Return the standard deviation of all finite values; their magnitude if they are equal, 1 if they are 0."""
    joined = np.concatenate([np.zeros(0), *(value[np.isfinite(value)] for value in values)])
    return (float(joined.std()) or float(np.abs(joined).max()) or 1.0) if joined.size else 1.0


def _distance(sources: Sequence[Any], others: Sequence[Any]) -> float:
    pairs = [(a, b) for a, b in zip(sources, others) if a.size]
    if any(a.shape != b.shape for a, b in pairs):
        return math.inf
    if not pairs:
        return 0.0
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.concatenate([(b.astype(np.float64) - a).ravel() for a, b in pairs]))
    return float(np.sqrt((apart**2).mean()))


class _Variants:
    """A model with some of its activations in int8.

    readers: those that can be, in the order of their layers, with the nodes that read them. fixed: those of them that
    states depend on, with the reason. names: the others. exceeded: those whose range one sample makes. labels: outputs
    whose values are no amounts.
    """

    def __init__(
        self, model: ModelProto, scales: Scales, keep: AbstractSet[str], makers: Mapping[str, str], runs: _Runs, *,
        amounts: AbstractSet[str],
    ) -> None:  # fmt: skip
        self._model, self._keep, self._runs = model, keep, runs
        self._scales = scales.seen, {name: min(scale, scales.without[name]) for name, scale in scales.seen.items()}
        self.outputs = [value.name for value in model.graph.output]
        self._all, self._looked_at = frozenset(graph.tensor_names(model)), saturation.before(model)
        scope = types.of(model)
        self.labels = {name for name in self.outputs if scope.get(name) not in types.FLOATS} - amounts
        self._layers = list(layers.of(scope, keep).values())
        self.readers: Dict[str, List[str]] = {}
        for layer in self._layers:
            for name in layer.activations():
                if name in scales.seen:
                    self.readers.setdefault(name, []).append(layer.node.name)
        made = {name: makers[node] for name, nodes in self.readers.items() for node in nodes if node in makers}
        self.fixed = {name: f"in the state {state!r} its errors of all runs add up" for name, state in made.items()}
        self.names = [name for name in self.readers if name not in self.fixed]
        seen, unseen = self._scales
        self.exceeded = {name for name in self.names if unseen[name] < _CLEARLY * seen[name]}

    def run(self, feeds: Feeds, active: Sequence[str], *, unseen: bool = False) -> List[Values]:
        """Return each sample's outputs with these activations in int8, and the tensors behind those that saturate."""
        variant = ModelProto()
        variant.CopyFrom(self._model)
        scales = self._scales[unseen]
        quantize.insert(variant, {name: scales[name] for name in active}, names=self._all, keep=self._keep)
        for name in sorted(self._looked_at):
            variant.graph.output.add(name=name).type.tensor_type.elem_type = TensorProto.FLOAT
        segments, found = Segments(variant), []
        for feed in feeds:
            found.append(segments.run(feed))
            self._runs.add()
        return found

    def costs(self, shapes: Mapping[str, Tuple[int, ...]]) -> Dict[str, float]:
        """Return the cost of leaving out each activation: its share of layers plus its share of multiplications."""
        found = dict.fromkeys(self.names, 1.0 / max(1, len(self.names)))
        sizes = macs.of_layers(self._model, shapes)
        total = sum(sizes.get(layer.node.name, 0) for layer in self._layers) or 1
        for layer in self._layers:
            for name in layer.activations():
                if name in found:
                    found[name] += sizes.get(layer.node.name, 0) / total
        return found
