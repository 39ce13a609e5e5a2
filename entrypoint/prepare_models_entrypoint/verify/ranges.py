"""Which nodes can't be narrow: those whose values overflow, and those that rounding takes too far from the source.

The model and its narrow form run in lockstep on a few samples. What overflows stays in fp32 at once. While an output
misses its thresholds, the places where the error arises are kept, too, and then more and more of what leads to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from onnx import ModelProto, NodeProto

from ..onnx_graph import retype, rounding
from ..onnx_graph.lockstep import Lockstep, Seen
from ..onnx_graph.operators import FOLLOW
from ..onnx_graph.walk import bodies, graphs

SAMPLES = 3  # on which ranges are measured
_LARGEST = {"fp16": 65504.0}
_ROOM = 1.25  # other inputs reach further than the samples
_PASSES = 10
_DEEPEST = 64

Values = Mapping[str, Any]
# Judges the outputs of the samples against those of the source; returns what misses a threshold, and the largest error.
Judge = Callable[[Sequence[Tuple[Values, Values]]], "Judgement"]


@dataclass(frozen=True)
class Judgement:
    """What a comparison of all outputs found.

    doubtful: outputs that come near a threshold or miss it. problems: what misses a threshold, by output.
    error: the largest error of an output over the output's range.
    """

    doubtful: Set[str]
    problems: Mapping[str, Sequence[str]]
    error: float


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
    model: ModelProto
    target: str
    feeds: Sequence[Values]
    judge: Judge
    keep: Dict[str, str]
    passes: int = 0
    depths: Dict[str, int] = field(default_factory=dict)

    def run(self, *, grow: bool) -> Measured:
        step = self._step()
        overflowing = step.overflowing(self.target)
        if overflowing.keys() - self.keep.keys():
            self.keep = {**overflowing, **self.keep}
            step = self._step()
        measured = step.measured
        while grow and measured.doubtful and self.passes < _PASSES:
            grown = self._grown(step)
            if not grown.keys() - self.keep.keys():
                break
            self.keep = {**grown, **self.keep}
            step = self._step()
            measured = step.measured
        return Measured(self.keep, measured, self.passes)

    def _step(self) -> "_Step":
        self.passes += 1
        copy = ModelProto()
        copy.CopyFrom(self.model)
        narrow = retype.retype(copy, self.target, keep=self.keep, samples=True)
        twin = rounding.rounded(narrow.model)
        pair = Lockstep(
            self.model, twin.model, {name: twin.wide.get(half, half) for name, half in narrow.retyped.items()}
        )
        outputs = [pair.run(feed) for feed in self.feeds]
        return _Step(self.model, pair.seen, self.judge(outputs), set(self.keep))

    def _grown(self, step: "_Step") -> Dict[str, str]:
        for name in step.origins():
            self.depths[name] = min(_DEEPEST, 2 * self.depths[name]) if name in self.depths else 1
        grown: Dict[str, str] = {}
        for name, depth in self.depths.items():
            for node, why in step.upstream(name, depth).items():
                grown.setdefault(node, why)
        return grown


class _Step:
    """One run of the pair, and what it tells of the graph's nodes."""

    def __init__(self, model: ModelProto, seen: Mapping[str, Seen], measured: Judgement, kept: Set[str]) -> None:
        self.seen, self.measured, self.kept = seen, measured, kept
        self.nodes: List[NodeProto] = list(model.graph.node)
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.by_name = {node.name: node for node in self.nodes}

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
                    found.update(_with_bodies(node, f"{name!r} reaches {most:.3g}, {target} ends at {largest:g}"))
                    break
        return found

    def origins(self) -> List[str]:
        """Return the nodes in which too large errors arise, among those that lead to outputs that miss a threshold."""
        leading = self._leading()
        errors = {node.name: max((self._error(name) for name in node.output), default=0.0) for node in leading}
        limit = min(0.01, max(errors.values(), default=0.0) / 2)
        found = []
        for node in leading:
            before = max((self._error(name) for name in node.input), default=0.0)
            if errors[node.name] > limit >= before and node.op_type not in FOLLOW:
                found.append(node.name)
        return found

    def upstream(self, name: str, depth: int) -> Dict[str, str]:
        """Return a node and what leads to it over ``depth`` nodes; those that only move values count for nothing."""
        node = self.by_name[name]
        worst = max(node.output, key=self._error)
        share = self._error(worst)
        moved = f"by {100 * share:.2g} % of its magnitude" if share != float("inf") else "to infinity"
        found = _with_bodies(node, f"rounding moves {worst!r} {moved}")
        layer, moving = [node], set()
        for _ in range(depth):
            sources = [self.producers[read] for each in layer for read in each.input if read in self.producers]
            layer = []
            for source in sources:  # which grows
                if source.op_type in FOLLOW and source.name not in moving:
                    moving.add(source.name)
                    sources += [self.producers[read] for read in source.input if read in self.producers]
                elif source.op_type not in FOLLOW and source.name not in found:
                    found.update(_with_bodies(source, f"leads to {name!r}, where rounding moves {worst!r} {moved}"))
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


def _with_bodies(node: NodeProto, why: str) -> Dict[str, str]:
    inner = [each.name for body in bodies(node) for graph in graphs(body) for each in graph.node]
    return dict.fromkeys([node.name, *inner], why)


def _read(node: NodeProto) -> Iterable[str]:
    yield from node.input
    for body in bodies(node):
        for graph in graphs(body):
            for inner in graph.node:
                yield from inner.input
            yield from (value.name for value in graph.output)
