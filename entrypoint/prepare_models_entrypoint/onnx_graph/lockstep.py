"""Running a model, alone or with its twin (a model made from it), with every tensor observed and reduced at once."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from onnx import ModelProto, NodeProto

from .histogram import largest
from .segments import Segments, Values, nbytes

_SEGMENT_BYTES = 256 << 20
_FIRST, _MOST = 16, 512  # nodes of a segment


@dataclass
class Seen:
    """What was observed of a float tensor on the samples.

    most: largest finite magnitude. error: largest difference from its twin.
    broken: how many values of the twin are not finite although its own are.
    """

    most: float = 0.0
    error: float = 0.0
    broken: int = 0

    @property
    def relative(self) -> float:
        """The largest difference divided by the tensor's largest magnitude."""
        if self.broken:
            return float("inf")
        return self.error / self.most if self.most else 0.0

    def take(self, value: Any, twin: Optional[Any]) -> None:
        """Add one sample's values, and those of its twin (None without a twin)."""
        self.most = max(self.most, largest(value))
        if twin is None or twin.shape != value.shape or not value.size:
            return
        with np.errstate(all="ignore"):
            apart = np.abs(twin - value)
        error = float(apart.max())
        if not np.isfinite(error):
            self.broken += int((np.isfinite(value) & ~np.isfinite(twin)).sum())
            apart = apart[np.isfinite(apart)]
            error = float(apart.max()) if apart.size else 0.0
        self.error = max(self.error, error)


class _Pace:
    """Cuts a model into segments: with few nodes where tensors are large, and at the same places in each run."""

    def __init__(self, model: Segments) -> None:
        self._model, self._ends, self._step = model, [0], _FIRST

    def __iter__(self) -> Iterator[Tuple[int, int]]:
        index = 0
        while self._ends[index] < len(self._model.nodes):
            start = self._ends[index]
            if index + 1 == len(self._ends):
                self._ends.append(self._model.end(start, start + self._step))
            index += 1
            yield start, self._ends[index]

    def took(self, found: Values) -> None:
        """Record how large the tensors of a segment are."""
        scaled = int(self._step * _SEGMENT_BYTES / max(1, nbytes(found)))
        self._step = max(1, min(_MOST, 2 * self._step, scaled))


class Observed(abc.ABC):
    """Runs a model, only as many nodes at a time as should have their tensors in memory.

    Args:
        model: functions inlined, its nodes named.
    """

    def __init__(self, model: ModelProto) -> None:
        self._segments = Segments(model)
        self._pace = _Pace(self._segments)

    @abc.abstractmethod
    def take(self, found: Values) -> None:
        """Look at the inputs, and then at all tensors that some nodes computed."""

    def run(self, feed: Mapping[str, Any]) -> Values:
        """Run one sample, and return the outputs."""
        values = dict(feed)
        self.take(values)
        for start, end in self._pace:
            found = self._segments.advance(values, start, end, observed=True)
            self._pace.took(found)
            self.take(found)
        return self._segments.results(values)


class Watched(Observed):
    """Runs a model. seen: what was observed of its float tensors, and shapes. observed_bytes: of all tensors."""

    def __init__(self, model: ModelProto) -> None:
        super().__init__(model)
        self.seen: Dict[str, Seen] = {}
        self.shapes: Dict[str, Tuple[int, ...]] = {}
        self.observed_bytes = 0

    def take(self, found: Values) -> None:
        """See ``Observed``."""
        self.observed_bytes += nbytes(found)
        for name, value in found.items():
            if is_float(value):
                self.shapes[name] = value.shape
                self.seen.setdefault(name, Seen()).take(value, None)


class Fix(NamedTuple):
    """Replaced results of the node at ``place`` in the model, in the order of its outputs."""

    place: int
    results: Sequence[Any]


# Looks at the tensors of the model and of its twin that the nodes from ``start`` to ``end`` (exclusive) made, and
# returns the replaced results of the first node that has any, or None: the twin continues with them.
Repair = Callable[[Values, Values, int, int], Optional[Fix]]


class Lockstep:
    """Runs a model and its twin.

    Args:
        model: the model, its nodes named.
        twin: the model made from it; nodes in both have the same names and order.
        names: the twin's name of a tensor, if different.
    """

    def __init__(self, model: ModelProto, twin: ModelProto, names: Mapping[str, str]) -> None:
        self.model, self.twin, self.names = Segments(model), Segments(twin), names
        self.seen: Dict[str, Seen] = {}
        self._places = {node.name: place for place, node in enumerate(self.twin.nodes) if node.name}
        self._ends = _ends(self.model.nodes, self._places, len(self.twin.nodes))
        self._pace = _Pace(self.model)

    def run(self, feed: Mapping[str, Any], repair: Optional[Repair] = None) -> Tuple[Values, Values]:
        """Run one sample, and return the outputs of the model and of its twin."""
        values, twins, at = dict(feed), dict(feed), 0
        for start, end in self._pace:
            till = self.twin.end(at, self._ends[end - 1]) if end < len(self.model.nodes) else len(self.twin.nodes)
            till = max(at, till)
            before = dict(twins) if repair is not None else {}
            found = self.model.advance(values, start, end, observed=True)
            theirs = self.twin.advance(twins, at, till, observed=True)
            self._pace.took(found)
            fix = repair(found, theirs, start, end) if repair is not None else None
            while repair is not None and fix is not None:
                twin = self._places[self.model.nodes[fix.place].name]
                if not self.twin.can_start(twin + 1):
                    break
                theirs.update(zip(self.twin.nodes[twin].output, fix.results))
                twins = {**before, **theirs}
                theirs.update(self.twin.advance(twins, twin + 1, till, observed=True))
                fix = repair(found, theirs, fix.place, end)
            self._take(found, theirs)
            at = till
        return self.model.results(values), self.twin.results(twins)

    def _take(self, found: Values, theirs: Values) -> None:
        for name, value in found.items():
            if is_float(value):
                self.seen.setdefault(name, Seen()).take(value, theirs.get(self.names.get(name, name)))


def _ends(nodes: Sequence[NodeProto], places: Mapping[str, int], count: int) -> List[int]:
    """Return, by a node's place, how many of the twin's ``count`` nodes correspond to the nodes up to there."""
    shared = {places[node.name] for node in nodes if node.name in places}
    ends, reached = [], 0
    for node in nodes:
        reached = max(reached, places.get(node.name, -1) + 1)
        while reached < count and reached not in shared:
            reached += 1
        ends.append(reached)
    return ends


def is_float(value: Any) -> bool:
    """Return whether a value is a tensor of float32."""
    return isinstance(value, np.ndarray) and value.dtype == np.float32
