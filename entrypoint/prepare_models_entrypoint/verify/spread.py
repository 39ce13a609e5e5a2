"""Errors that add up over a network: which of its layers have to stay in fp32 for the outputs to be right.

If no single node spoils an output, each layer is narrowed alone, with the nodes that follow it up to the next layer.
Squares of such errors add up, so the layers that move an output most stay in fp32 until it is right.
"""

from __future__ import annotations

from typing import Callable, Dict, List, Mapping, Optional, Sequence

from onnx import ModelProto

from ..onnx_graph import bisection
from ..onnx_graph.graph import COMPUTE
from ..onnx_graph.operators import FOLLOW
from ..onnx_graph.walk import with_bodies

_LEAST_SHARE = 0.25  # of the layers that have to become narrow
_IDLE = FOLLOW | {"Constant"}


class Spread:
    """Layers of a model, each with the nodes that follow it, and how far each alone moves an output at most.

    Args:
        model: the source.
        kept: names of nodes that stay in fp32 in any case.
    """

    def __init__(self, model: ModelProto, kept: Mapping[str, str]) -> None:
        self._members: Dict[str, List[str]] = {}
        name = ""
        for node in model.graph.node:
            if node.op_type in _IDLE or node.name in kept:
                continue
            if not name or node.op_type in COMPUTE:
                name = node.name
            self._members.setdefault(name, []).extend(with_bodies(node))
        self._alone = dict.fromkeys(self._members, 0.0)
        self._too_few = 0

    def learn(self, runs: int, moved: Callable[[Mapping[str, str]], float]) -> None:
        """Learn how far each layer moves an output on a sample: a layer with hardly any error on one may spoil another.

        Args:
            runs: how many narrow forms may be tried for it.
            moved: returns the error of an output relative to its range, with these nodes in fp32.
        """
        names = list(self._members)
        found = bisection.alone(names, runs, lambda group: moved(self._of([n for n in names if n not in group])))
        self._alone = {name: max(by, found[name]) for name, by in self._alone.items()}

    def settled(self, is_right: Callable[[Mapping[str, str]], bool]) -> Optional[Dict[str, str]]:
        """Return what stays in fp32, with reasons; None if too much would have to.

        Later calls, with more samples, don't try fewer layers again.

        Args:
            is_right: whether the outputs are right with these nodes in fp32.
        """
        worst = sorted(self._alone, key=lambda name: -self._alone[name])
        most = int(len(worst) * (1 - _LEAST_SHARE))
        count = bisection.fewest(self._too_few, most + 1, lambda number: is_right(self._of(worst[:number])))
        self._too_few = count - 1
        return self._of(worst[:count]) if count <= most else None

    def _of(self, names: Sequence[str]) -> Dict[str, str]:
        """Return the nodes of some layers, with reasons."""
        return {
            node: f"rounding from {name!r} on moves an output by {self._alone[name]:.2%} of its range"
            for name in names
            for node in self._members[name]
        }
