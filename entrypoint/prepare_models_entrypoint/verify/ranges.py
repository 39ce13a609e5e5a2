"""Which nodes can't be narrow: those whose values overflow, and those that rounding takes too far from the source.

The model and its narrow form run in lockstep on a few samples. What overflows stays in fp32 at once. While an output
misses its thresholds, the places where the error arises are kept, too, and then more and more of what leads to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from onnx import ModelProto, NodeProto

from ..onnx_graph import retype, rounding, weights
from ..onnx_graph.lockstep import Lockstep, Seen
from ..onnx_graph.operators import FOLLOW
from ..onnx_graph.walk import bodies, graphs
from .judging import Judge, Judgement, Values

SAMPLES = 3  # on which ranges are measured
_LARGEST = {"fp16": 65504.0}
_ROOM = 1.25  # other inputs reach further than the samples
_PASSES = 10
_BYTES = 32 << 30  # of weights and tensors that a search may look at: its time is bounded, and the same everywhere
_DEEPEST = 64
_ADDED_AT_ONCE = 2
_FAR = 0.01  # of a tensor's magnitude
_JUMP = 4  # times what a node's inputs are off; in between, rounding only adds up
_UNITS = {"fp16": 2.0**-11, "bf16": 2.0**-8}

_IDLE = FOLLOW | {"Constant"}


@dataclass
class Measured:
    """What was found. ``keep``: reasons by the names of nodes that stay in fp32; ``passes``: runs of the pair."""

    keep: Dict[str, str]
    judgement: Judgement
    passes: int = 1


def measure(
    model: ModelProto, target: str, feeds: Sequence[Values], judge: Judge, *,
    keep: Optional[Mapping[str, str]] = None, grow: bool = True,
) -> Measured:  # fmt: skip
    """Return what has to stay in fp32.

    Args:
        model: prepared and folded; its large weights lie in files.
        target: fp16 or bf16.
        feeds: samples.
        judge: holds outputs against thresholds.
        keep: what stays in fp32 anyway.
        grow: whether nodes are kept until the thresholds are met; if not, only those that overflow.
    """
    return _Search(model, target, feeds, judge, dict(keep or {})).run(grow=grow)


@dataclass
class _Search:
    """Runs the pair again and again. ``depths``: how far what leads to a node is kept, too, by the node's name."""

    model: ModelProto
    target: str
    feeds: Sequence[Values]
    judge: Judge
    keep: Dict[str, str]
    passes: int = 0
    looked_at: int = 0
    depths: Dict[str, int] = field(default_factory=dict)
    reasons: Dict[str, str] = field(default_factory=dict)

    def run(self, *, grow: bool) -> Measured:
        step = self._step(self.keep)
        overflowing = step.overflowing(self.target)
        if overflowing.keys() - self.keep.keys():
            self.keep = {**overflowing, **self.keep}
            step = self._step(self.keep)
        best = step
        while grow and step.measured.doubtful and not self._is_spent():
            known = dict(self.depths)
            self._deepen(step)
            if self.depths == known:
                break
            step = self._step(self._grown(step))
            best = min(best, step, key=_Step.merit)
        if best.keep.keys() - self.keep.keys() and not best.measured.doubtful:
            best = self._shrunk(best)
        return Measured(best.keep, best.measured, self.passes)

    def _step(self, keep: Dict[str, str]) -> "_Step":
        self.passes += 1
        copy = ModelProto()
        copy.CopyFrom(self.model)
        narrow = retype.retype(copy, self.target, keep=keep, samples=True)
        twin = rounding.rounded(narrow.model)
        pair = Lockstep(
            self.model, twin.model, {name: twin.wide.get(half, half) for name, half in narrow.retyped.items()}
        )
        outputs = [pair.run(feed) for feed in self.feeds]
        stored = sum(weights.size(tensor) for tensor in self.model.graph.initializer)
        self.looked_at += pair.observed_bytes + 4 * stored * len(self.feeds)
        return _Step(self.model, pair.seen, self.judge(outputs), _UNITS[self.target], keep)

    def _is_spent(self) -> bool:
        return self.passes >= _PASSES or self.looked_at > _BYTES

    def _deepen(self, step: "_Step") -> None:
        for name in step.origins():
            self.depths[name] = min(_DEEPEST, 2 * self.depths[name]) if name in self.depths else 1
            self.reasons.setdefault(name, step.reason(name))

    def _grown(self, step: "_Step") -> Dict[str, str]:
        grown = dict(self.keep)
        for name, depth in self.depths.items():
            why = self.reasons[name]
            for node in step.upstream(name, depth):
                grown.setdefault(node, why if node == name else f"leads to {name!r}, where {why}")
        return grown

    def _shrunk(self, best: "_Step") -> "_Step":
        """Take back a part of what was added at once."""
        for name in [name for name, depth in self.depths.items() if depth > _ADDED_AT_ONCE]:
            whole = self.depths[name]
            self.depths[name] = 3 * whole // 4
            step = best if self._is_spent() else self._step(self._grown(best))
            if step is best or step.measured.doubtful:
                self.depths[name] = whole
            else:
                best = step
        return best


class _Step:
    """One run of the pair, and what it tells of the graph's nodes."""

    def __init__(
        self, model: ModelProto, seen: Mapping[str, Seen], measured: Judgement, unit: float, keep: Dict[str, str]
    ) -> None:
        self.seen, self.measured, self.unit, self.keep = seen, measured, unit, keep
        self.nodes: List[NodeProto] = list(model.graph.node)
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.by_name = {node.name: node for node in self.nodes}

    def merit(self) -> Tuple[bool, bool, float, int]:
        """Return what makes one step better than another: the least is best."""
        error = math.inf if math.isnan(self.measured.error) else self.measured.error
        return bool(self.measured.doubtful), bool(self.measured.problems), error, len(self.keep)

    def overflowing(self, target: str) -> Dict[str, str]:
        """Return the nodes that read or make what does not fit into the target type."""
        largest = _LARGEST.get(target)
        found: Dict[str, str] = {}
        for node in self.nodes if largest is not None else ():
            floats = [name for name in node.input if name in self.seen]
            if node.op_type in FOLLOW and len(floats) < 2:
                continue  # it takes the type that its input has
            for name in (*node.output, *floats):
                most = self.seen[name].most if name in self.seen else 0.0
                if largest is not None and most * _ROOM > largest:
                    why = f"{name!r} reaches {most:.3g}, {target} ends at {largest:g}"
                    found.update(dict.fromkeys(_with_bodies(node), why))
                    break
        return found

    def origins(self) -> List[str]:
        """Return the nodes in which large errors arise, on the way to outputs that miss a threshold.

        A node that reads such an error is none: it may be right as soon as that one is.
        """
        leading = [node for node in self._leading() if node.op_type not in FOLLOW]
        errors = {node.name: max((self._error(name) for name in node.output), default=0.0) for node in leading}
        limit = min(_FAR, max(errors.values(), default=0.0) / 2)
        found: List[str] = []
        spoilt: Set[str] = set()
        for node in self._leading():
            before = max((self._error(name) for name in node.input), default=0.0)
            error = errors.get(node.name, 0.0)
            if spoilt.intersection(_read(node)):
                spoilt.update(node.output)
            elif error > limit and error > _JUMP * max(before, self.unit):
                found.append(node.name)
                spoilt.update(node.output)
        return found

    def reason(self, name: str) -> str:
        """Say what rounding does to the outputs of a node."""
        worst = max(self.by_name[name].output, key=self._error)
        share = self._error(worst)
        moved = f"by {100 * share:.2g} % of its magnitude" if share != math.inf else "to infinity"
        return f"rounding moves {worst!r} {moved}"

    def upstream(self, name: str, depth: int) -> List[str]:
        """Return a node and what leads to it over ``depth`` nodes; those that only move values count for nothing."""
        layer, moving = [self.by_name[name]], set()
        found = _with_bodies(layer[0])
        for _ in range(depth):
            sources = [self.producers[read] for each in layer for read in each.input if read in self.producers]
            layer = []
            for source in sources:  # which grows
                if source.op_type in FOLLOW and source.name not in moving:
                    moving.add(source.name)
                    sources += [self.producers[read] for read in source.input if read in self.producers]
                elif source.op_type not in _IDLE and source.name not in found:
                    found += _with_bodies(source)
                    layer.append(source)
        return found

    def _error(self, name: str) -> float:
        return self.seen[name].relative if name in self.seen else 0.0

    def _leading(self) -> List[NodeProto]:
        """Return the nodes on the way to outputs that miss a threshold, in the graph's order."""
        needed = set(self.measured.doubtful)
        found = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                found.append(node)
                needed.update(_read(node))
        return found[::-1]


def _with_bodies(node: NodeProto) -> List[str]:
    return [node.name, *(each.name for body in bodies(node) for graph in graphs(body) for each in graph.node)]


def _read(node: NodeProto) -> Iterable[str]:
    yield from node.input
    for body in bodies(node):
        for graph in graphs(body):
            for inner in graph.node:
                yield from inner.input
            yield from (value.name for value in graph.output)
