"""Errors that add up over a network: which of its layers have to stay in fp32 for the outputs to be right.

If no single node spoils an output, what is between the layers stays in fp32, which takes little time. Each layer is
narrowed alone: the source runs up to there, the layer in fp16, and what follows in fp32 again. Squares of such errors
add up, so the layers whose squares are largest for what they compute stay in fp32 until the outputs are right.
"""

from __future__ import annotations

import math
from typing import Callable, Dict, List, Mapping, Sequence, Tuple

from onnx import ModelProto, NodeProto

from ..onnx_graph import bisection
from ..onnx_graph.graph import COMPUTE
from ..onnx_graph.operators import FOLLOW
from ..onnx_graph.segments import Change, Segments, Values
from ..onnx_graph.walk import with_bodies, within

_LEAST_SHARE = 0.1  # of the layers that have to become narrow
_BETWEEN = "errors add up over the layers, and in the nodes between them fp32 takes little time"
_SMALLER, _STEPS = 0.75, 16  # times the tolerable error, where squares that add up to it are too much
_SURER, _CHEAP = 0.5, 0.05  # of it, as other inputs differ, where that costs no more of what the model computes
_STEP = 64  # nodes that run at a time
_IDLE = FOLLOW | {"Constant"}


class Spread:
    """Layers of a model. moves: how far each alone moves an output at most. between: the other nodes, with the reason.

    Without layers that compute, every node counts as one.

    Args:
        model: the source.
        kept: names of nodes that stay in fp32 in any case.
        macs: how much each layer computes, by name.
    """

    def __init__(self, model: ModelProto, kept: Mapping[str, str], macs: Mapping[str, int]) -> None:
        self._source = Segments(model)
        self.between: Dict[str, str] = {}
        self._layers: Dict[str, Tuple[int, int]] = {}
        free = [(place, node) for place, node in enumerate(self._source.nodes) if node.name not in kept]
        computing = any(_computes(node) for _, node in free)
        for place, node in free:
            if computing and not _computes(node):
                self.between.update(dict.fromkeys(with_bodies(node), _BETWEEN) if node.op_type not in _IDLE else {})
            elif self._source.can_start(place):
                self._layers[node.name] = place, self._source.end(place, place + 1)
        usual = sum(macs.values()) / len(macs) if macs else 1
        self._costs = {name: max(1, macs.get(name, usual)) for name in self._layers}
        self._most = int(len(self._layers) * (1 - _LEAST_SHARE))
        self.moves = dict.fromkeys(self._layers, 0.0)
        self._too_large = -1

    def learn(self, feed: Values, runs: int, narrow: Change, moved: Callable[[Values], float]) -> None:
        """Learn how far each layer moves an output on a sample: a layer with hardly any error on one may spoil another.

        Args:
            feed: the sample.
            runs: how often layers may be narrowed for it; each takes about half a run of the model.
            narrow: narrows some of the model's nodes.
            moved: returns the error of outputs relative to their range.
        """
        walk = _Walk(self._source, feed, narrow)
        found = bisection.alone(
            list(self._layers), runs,
            lambda group: moved(walk.outputs(self._layers[group[0]][0], self._layers[group[-1]][1])),
        )  # fmt: skip
        self.moves = {name: max(by, found[name]) for name, by in self.moves.items()}

    def settled(self, is_right: Callable[[Mapping[str, str]], bool], tolerable: float) -> Dict[str, str]:
        """Return what stays in fp32, with reasons: the most that may, if the outputs are not right with less.

        Later calls, with more samples, don't try larger errors again.

        Args:
            is_right: whether the outputs are right with these nodes in fp32.
            tolerable: error of an output relative to its range that is right.
        """
        largest = min(tolerable, math.hypot(*filter(math.isfinite, self.moves.values())))
        budgets = [*(largest * _SMALLER**step for step in range(_STEPS)), 0.0]
        step = bisection.fewest(self._too_large, _STEPS, lambda at: is_right(self._of(self._dear(budgets[at]))))
        self._too_large = step - 1
        kept, surer = self._dear(budgets[step]), self._dear(_SURER * budgets[step])
        more = sum(map(self._costs.__getitem__, surer)) - sum(map(self._costs.__getitem__, kept))
        is_cheap = more <= _CHEAP * sum(self._costs.values())
        return self._of(surer if is_cheap and is_right(self._of(surer)) else kept)

    def _dear(self, budget: float) -> List[str]:
        """Return the layers without which the squares of all moves add up to ``budget`` squared at most.

        Those that compute most for what they move are narrow first.
        """
        dear, room = [], budget**2
        for name in sorted(self.moves, key=lambda name: self.moves[name] ** 2 / self._costs[name]):
            if self.moves[name] ** 2 <= room:
                room -= self.moves[name] ** 2
            else:
                dear.append(name)
        return dear[max(0, len(dear) - self._most) :]

    def _of(self, names: Sequence[str]) -> Dict[str, str]:
        """Return the nodes of some layers and those between all layers, with reasons."""
        kept = dict(self.between)
        for name in names:
            moved = f"{self.moves[name]:.2%} of its range" if math.isfinite(self.moves[name]) else "any amount"
            why = f"rounding in {name!r} moves an output by {moved}"
            kept.update(dict.fromkeys(with_bodies(self._source.nodes[self._layers[name][0]]), why))
        return kept


class _Walk:
    """Runs a model on a sample with some of its nodes narrow, from the values that the source has before them."""

    def __init__(self, model: Segments, feed: Values, narrow: Change) -> None:
        self._model, self._feed, self._narrow = model, feed, narrow
        self._values, self._at = dict(feed), 0

    def outputs(self, start: int, end: int) -> Values:
        """Return the outputs with nodes ``start`` to ``end`` (exclusive) narrow."""
        if start < self._at:
            self._values, self._at = dict(self._feed), 0
        self._run(self._values, self._at, start)
        self._at, values = start, dict(self._values)
        self._model.advance(values, start, end, change=self._narrow)
        self._run(values, end, len(self._model.nodes))
        return self._model.results(values)

    def _run(self, values: Values, start: int, end: int) -> None:
        """Run nodes in fp32, most of them in segments that can be used again."""
        while start < end:
            stop = min(end, self._model.end(start, (start // _STEP + 1) * _STEP))
            whole = start % _STEP == 0 and (stop % _STEP == 0 or stop == len(self._model.nodes))
            self._model.advance(values, start, stop, again=whole)
            start = stop


def _computes(node: NodeProto) -> bool:
    return any(each.op_type in COMPUTE for each in within(node))
