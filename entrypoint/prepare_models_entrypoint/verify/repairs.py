"""Where rounding spoils a model, and how many of the nodes that lead there have to stay in fp32.

A model and its twin run once, side by side. Where an error arises, the node and more and more of the nodes that lead to
it are computed again in fp32, from the twin's own values; the twin continues with the result.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

import numpy as np
from onnx import ModelProto, NodeProto

from ..onnx_graph import retype, rounding
from ..onnx_graph.graph import COMPUTE
from ..onnx_graph.lockstep import Fix, Lockstep, Seen, is_float
from ..onnx_graph.operators import FOLLOW
from ..onnx_graph.segments import Values
from ..onnx_graph.walk import leading, reads, with_bodies

_UNITS = {"fp16": 2.0**-11, "bf16": 2.0**-8}
_FAR = 10  # in units of rounding, relative to a tensor's magnitude
_JUMP = 4  # times the error of a node's inputs; below this, rounding only adds up
_ENOUGH = 1.25  # times the smallest error that can be reached
_SHARES = (1 / 4, 1 / 16, 0.0)  # of an error that may remain
_DEPTHS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_REMEMBERED = 256 << 20  # bytes of the twin's latest values
_IDLE = FOLLOW | {"Constant"}


@dataclass
class Spoilt:
    """A node whose result rounding spoils.

    depths: how many nodes up have to stay in fp32 to remove most of the error, more of it, and as much as possible;
    empty if that doesn't help.
    """

    name: str
    why: str
    depths: Tuple[int, ...] = ()


class Ways:
    """Which nodes lead to which in the outermost graph of a model."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes: List[NodeProto] = list(model.graph.node)
        self.places = {node.name: place for place, node in enumerate(self.nodes)}
        self._producers = {name: node for node in self.nodes for name in node.output if name}

    def up(self, name: str, depth: int) -> Tuple[List[NodeProto], List[NodeProto]]:
        """Return a node with the nodes that lead to it up to ``depth``, and those in between that only move values."""
        layer = [self.nodes[self.places[name]]]
        found, moving, seen = list(layer), [], {name}
        for _ in range(depth):
            sources = [self._producers[read] for each in layer for read in each.input if read in self._producers]
            layer = []
            for source in sources:  # which grows meanwhile
                if source.name in seen:
                    continue
                seen.add(source.name)
                if source.op_type in FOLLOW:
                    moving.append(source)
                    sources += [self._producers[read] for read in source.input if read in self._producers]
                elif source.op_type not in _IDLE:
                    layer.append(source)
            found += layer
        return found, moving

    def kept(self, name: str, depth: int, why: str) -> Dict[str, str]:
        """Return the reasons for a node and the nodes that lead to it."""
        nodes = [inner for node in self.up(name, depth)[0] for inner in with_bodies(node)]
        return {each: why if each == name else f"leads to {name!r}, where {why}" for each in nodes}


class Repairs:
    """Finds the nodes that rounding spoils, in one run of the pair.

    Args:
        model: the source.
        narrow: the model made from it; modified in place.
        target: fp16 or bf16.
        doubtful: outputs that miss a threshold, or nearly.
        spare: how many compute layers may stay in fp32; None for any number.
    """

    def __init__(
        self, model: ModelProto, narrow: retype.Retyped, target: str, *, doubtful: Set[str], spare: Optional[int]
    ) -> None:
        self.ways, self.unit, self.spare = Ways(model), _UNITS[target], spare
        self.spoilt: List[Spoilt] = []
        self.computing: Set[str] = set()
        twin = rounding.rounded(narrow.model)
        self._wide = {name: twin.wide.get(half, half) for name, half in narrow.retyped.items()}
        self._pair = Lockstep(model, twin.model, self._wide)
        self._doubtful, self._leading = doubtful, {node.name for node in leading(self.ways.nodes, doubtful)}
        self._errors: Dict[str, float] = {}
        self._values: "OrderedDict[str, Any]" = OrderedDict()
        self._remembered = 0

    def run(self, feed: Values) -> Tuple[Values, Values]:
        """Run the pair on a sample, and return the outputs of the model and those of its repaired twin."""
        for name, value in feed.items():
            self._remember(name, value)
        return self._pair.run(feed, self._fix)

    def _fix(self, found: Values, theirs: Values, start: int, end: int) -> Optional[Fix]:
        """Be the pair's ``lockstep.Repair``."""
        for place in range(start, end):
            node = self.ways.nodes[place]
            before = max((self._errors.get(name, 0.0) for name in reads(node)), default=0.0)
            for name in node.output:
                if name in found:
                    self._take(name, found[name], theirs.get(self._wide.get(name, name)))
            error = max((self._errors.get(name, 0.0) for name in node.output), default=0.0)
            far = error > _FAR * self.unit and error > _JUMP * max(before, self.unit)
            known = bool(self.spoilt) and self.spoilt[-1].name == node.name
            if far and not known and node.name in self._leading:
                fixed = self._repaired(node, found)
                if fixed is not None:
                    return Fix(place, fixed)
        return None

    def _take(self, name: str, value: Any, twin: Optional[Any]) -> None:
        if is_float(value):
            self._errors[name] = self._error(name, value, twin)
        self._remember(name, value if twin is None else twin)

    def _error(self, name: str, value: Any, twin: Optional[Any]) -> float:
        return _error(value, twin) * (_over_range(value) if name in self._doubtful else 1.0)

    def _remember(self, name: str, value: Any) -> None:
        if not hasattr(value, "nbytes"):
            return
        known = self._values.pop(name, None)
        self._values[name] = value
        self._remembered += value.nbytes - (0 if known is None else known.nbytes)
        while self._remembered > _REMEMBERED and len(self._values) > 1:
            _, old = self._values.popitem(last=False)
            self._remembered -= old.nbytes

    def _repaired(self, node: NodeProto, found: Values) -> Optional[List[Any]]:
        """Return a node's results with as much in fp32 as it takes; None if that doesn't help."""
        worst = max(node.output, key=lambda name: self._errors.get(name, 0.0))
        before = self._errors[worst]
        why = _why(worst, before, "range" if worst in self._doubtful else "magnitude")
        tried: List[Tuple[int, float, Values]] = []
        size = 0
        for depth in _DEPTHS:
            kept, moving = self.ways.up(node.name, depth)
            if len(kept) == size:
                break
            size = len(kept)
            values = self._in_full(kept, moving, node) if self._is_affordable(kept) else None
            if values is None:
                break
            errors = [self._error(name, found[name], values[name]) for name in values if is_float(found.get(name))]
            tried.append((depth, max(errors, default=0.0), values))
            if tried[-1][1] <= _JUMP * self.unit:
                break
        least = min((error for _, error, _ in tried), default=math.inf)
        if not least <= before / 2:
            self.spoilt.append(Spoilt(node.name, why))
            return None
        limit = max(_ENOUGH * least, _JUMP * self.unit)
        limits = [max(limit, share * min(before, 1.0)) for share in _SHARES]
        chosen = [next(each for each in tried if each[1] <= most) for most in limits]
        self.spoilt.append(Spoilt(node.name, why, tuple(depth for depth, _, _ in chosen)))
        depth, _, values = chosen[0]
        self.computing.update(each.name for each in self.ways.up(node.name, depth)[0] if each.op_type in COMPUTE)
        return [values[name] if name else None for name in node.output]

    def _is_affordable(self, nodes: Iterable[NodeProto]) -> bool:
        more = {node.name for node in nodes if node.op_type in COMPUTE}
        return self.spare is None or not more - self.computing or len(more | self.computing) <= self.spare

    def _in_full(self, kept: List[NodeProto], moving: List[NodeProto], node: NodeProto) -> Optional[Values]:
        """Return a node's outputs, with the nodes that lead to it computed in fp32; None if values are gone."""
        places = sorted(self.ways.places[each.name] for each in (*kept, *moving))
        model = self._pair.model
        made = {name for place in places for name in self.ways.nodes[place].output}
        read = {name for place in places for name in model.reads[place]} - made
        values = {name: self._values[name] for name in read if name in self._values}
        if any(name not in model.stored for name in read - values.keys()):
            return None
        return model.part(places, values, [name for name in node.output if name])


def _over_range(value: Any) -> float:
    """Return the largest magnitude of finite values divided by their range, by which outputs are judged."""
    finite = value[np.isfinite(value)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    return float(np.abs(finite).max()) / spread if spread else 1.0


def _error(value: Any, twin: Optional[Any]) -> float:
    seen = Seen()
    seen.take(value, twin)
    return seen.relative


def _why(tensor: str, share: float, whole: str) -> str:
    moved = f"by {100 * share:.2g} % of its {whole}" if share != math.inf else "to infinity"
    return f"rounding moves {tensor!r} {moved}"
