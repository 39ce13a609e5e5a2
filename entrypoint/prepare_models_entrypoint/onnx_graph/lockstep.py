"""A model and the one that was made of it, run side by side with every tensor of both observed and at once reduced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from onnx import ModelProto, NodeProto

from .segments import Segments, Values

_SEGMENT_BYTES = 256 << 20
_FIRST, _MOST = 16, 512  # nodes of a segment


@dataclass
class Seen:
    """What a float tensor was on the samples.

    most: largest finite magnitude. error: largest difference of its twin.
    broken: values of the twin that are not finite where its own are.
    """

    most: float = 0.0
    error: float = 0.0
    broken: int = 0

    @property
    def relative(self) -> float:
        """The largest difference over the tensor's largest magnitude."""
        if self.broken:
            return float("inf")
        return self.error / self.most if self.most else 0.0

    def take(self, value: Any, twin: Optional[Any]) -> None:
        """Take up one sample's values, and those of its twin (None: there is none)."""
        if not value.size:
            return
        finite = value if np.isfinite(value.max()) and np.isfinite(value.min()) else value[np.isfinite(value)]
        if not finite.size:
            return
        self.most = max(self.most, abs(float(finite.max())), abs(float(finite.min())))
        if twin is not None and twin.shape == value.shape:
            self._compare(value, twin)

    def _compare(self, value: Any, twin: Any) -> None:
        with np.errstate(all="ignore"):
            apart = np.abs(twin - value)
        error = float(apart.max())
        if not np.isfinite(error):
            self.broken += int((np.isfinite(value) & ~np.isfinite(twin)).sum())
            apart = apart[np.isfinite(apart)]
            error = float(apart.max()) if apart.size else 0.0
        self.error = max(self.error, error)


class Lockstep:
    """Runs a model and its twin.

    Args:
        model: the model, its nodes named.
        twin: what was made of it: nodes that both have have one name and one order.
        names: the twin's name of a tensor, where that differs.
    """

    def __init__(self, model: ModelProto, twin: ModelProto, names: Mapping[str, str]) -> None:
        self.model, self.twin, self.names = Segments(model), Segments(twin), names
        self.seen: Dict[str, Seen] = {}
        self.observed_bytes = 0
        self._ends = _ends(self.model.nodes, self.twin.nodes)
        self._plan: List[int] = []

    def run(self, feed: Mapping[str, Any]) -> Tuple[Values, Values]:
        """Run one sample, and return the outputs of the model and those of its twin."""
        values, twins = dict(feed), dict(feed)
        start = at = index = 0
        step = _FIRST
        while start < len(self.model.nodes):
            if index == len(self._plan):
                self._plan.append(self.model.end(start, start + step))
            end = self._plan[index]
            till = self.twin.end(at, self._ends[end - 1]) if end < len(self.model.nodes) else len(self.twin.nodes)
            found = self.model.advance(values, start, end, observed=True)
            theirs = self.twin.advance(twins, at, max(at, till), observed=True)
            step = max(1, min(_MOST, 2 * step, int(step * _SEGMENT_BYTES / max(1, _bytes(found)))))
            self._take(found, theirs)
            self.observed_bytes += _bytes(found) + _bytes(theirs)
            start, at, index = end, max(at, till), index + 1
        return self.model.results(values), self.twin.results(twins)

    def _take(self, found: Values, theirs: Values) -> None:
        for name, value in found.items():
            if isinstance(value, np.ndarray) and value.dtype == np.float32:
                self.seen.setdefault(name, Seen()).take(value, theirs.get(self.names.get(name, name)))


def _ends(nodes: Sequence[NodeProto], twins: Sequence[NodeProto]) -> List[int]:
    """Return, by the place of a node, how many nodes of the twin do what the nodes up to there do."""
    places = {node.name: index for index, node in enumerate(twins) if node.name}
    shared = {places[node.name] for node in nodes if node.name in places}
    ends, reached = [], 0
    for node in nodes:
        reached = max(reached, places.get(node.name, -1) + 1)
        while reached < len(twins) and reached not in shared:
            reached += 1
        ends.append(reached)
    return ends


def _bytes(values: Values) -> int:
    return sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray))
