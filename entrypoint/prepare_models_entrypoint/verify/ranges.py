"""Which nodes can't be narrow: those whose values overflow, and those that rounding takes too far from the source.

The model runs once on each of a few samples, with every tensor observed. What overflows stays in fp32. Its narrow form
is held against it; where that misses a threshold, the model runs once more, next to the narrow one, and shows where the
error arises and how much has to stay in fp32 for it. Where errors only add up, layers are narrow one by one. What was
found is tried before it is believed, on other samples, too, and so is the plain narrow form: the worst sample counts.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from onnx import ModelProto

from ..contract.report import HarmfulLayer, PrecisionSearch
from ..onnx_graph import graph, macs, retype, rounding
from ..onnx_graph.graph import COMPUTE
from ..onnx_graph.lockstep import Seen, Watched
from ..onnx_graph.operators import FOLLOW
from ..onnx_graph.segments import Segments, nbytes
from ..onnx_graph.values import NARROW
from ..onnx_graph.walk import with_bodies
from .judging import Judge, Judgement, Values
from .repairs import Repairs, Spoilt, Ways
from .spread import Spread

SAMPLES = 2  # for measuring ranges; with the run beside the narrow model, the model runs at most three times
_ROOM = 1.25  # other inputs reach further than the samples
_BYTES = 16 << 30  # of tensors that the narrow forms may compute: their time is bounded, and the same everywhere
_BYTES_OF_LAYERS = 64 << 30  # the same, with single layers narrow, on each sample
_BYTES_OF_TRIALS = 32 << 30  # the same, for samples beyond these
_SHARE_OF_CALM = 0.25  # of these, where outputs are far from any threshold on the first samples
_HELD_BYTES = 256 << 20  # of outputs of the source on these
_MOST_RUNS = 128  # with a few layers narrow, on each sample
_TRIALS = 3  # on these; each adds the sample that is furthest off
_SPARE, _SPARE_NODES = 0.05, 0.1  # of compute layers and nodes, for outputs that only come near a threshold
_MOST_LAYERS = 0.9  # in fp32, for a form that is right by far
_DROPPED = 3  # of the nodes that rounding spoils: without these it may be right, too
_DEEPER = 4  # times what was measured to be enough, where it is not
_NAMED = 10  # of the layers that do most harm


@dataclass
class Measured:
    """The result.

    keep: reasons by name of node that stays in fp32. runs: of the source, observed. search: how the search for layers
    whose errors add up ended, None without one. share: of the multiply-accumulates, in fp32; None without any.
    """

    keep: Dict[str, str]
    judgement: Judgement
    runs: int
    search: Optional[PrecisionSearch] = None
    share: Optional[float] = None


@dataclass
class Source:
    """A model, observed on samples; each sample runs only once.

    Args:
        model: prepared and folded; its large weights are in files.
        feeds: samples, of which the first ``SAMPLES`` count.
        others: yields further samples, on which the result is tried.
    """

    model: ModelProto
    feeds: Sequence[Values]
    others: Callable[[], Iterator[Values]] = lambda: iter(())
    runs: int = 0
    seen: Mapping[str, Seen] = field(default_factory=dict)
    observed_bytes: int = 0
    macs: Mapping[str, int] = field(default_factory=dict)
    _outputs: List[Values] = field(default_factory=list)
    _answers: List[Values] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.feeds = self.feeds[:SAMPLES]

    def outputs(self) -> List[Values]:
        """Return the outputs of each sample."""
        if not self._outputs:
            watched = Watched(self.model)
            self._outputs = [watched.run(feed) for feed in self.feeds]
            self.seen, self.observed_bytes = watched.seen, watched.observed_bytes
            self.runs += len(self.feeds)
            self.macs = macs.of_layers(self.model, watched.shapes)
        return self._outputs

    def answered(self, most: int) -> Iterator[Tuple[Values, Values]]:
        """Yield the first of the other samples with their outputs, which are held where they are small."""
        held = sum(map(nbytes, self._answers))
        for index, feed in enumerate(itertools.islice(self.others(), most)):
            if index < len(self._answers):
                yield feed, self._answers[index]
                continue
            right = Segments(self.model).run(feed)
            held += nbytes(right)
            if index == len(self._answers) and held <= _HELD_BYTES:
                self._answers.append(right)
            yield feed, right

    def add(self, feed: Values, outputs: Values) -> None:
        """Add a sample with known outputs."""
        self.feeds, self._outputs = [*self.feeds, feed], [*self._outputs, outputs]


def measure(
    source: Source, target: str, judge: Judge, *, keep: Optional[Mapping[str, str]] = None, grow: bool = True
) -> Measured:
    """Return what has to stay in fp32.

    Args:
        source: the model and its samples.
        target: fp16 or bf16.
        judge: checks outputs against thresholds.
        keep: what stays in fp32 in any case.
        grow: whether to keep nodes until the thresholds are met; if not, only those that overflow.
    """
    source.outputs()
    search = _Search(source, target, judge, {**_overflowing(source, target), **(keep or {})})
    form = search.tried(search.keep)
    for trial in range(1 + _TRIALS if grow else 0):
        failing = search.adds_what_fails(form)
        if not failing and (trial or not form.judgement.doubtful):
            break
        form = search.grown(search.tried(search.keep))
        if form.judgement.problems:
            break
    computed = sum(source.macs.values())
    share = sum(source.macs.get(name, 0) for name in form.keep) / computed if computed else None
    return Measured(form.keep, form.judgement, source.runs, search.ended(), share)


@dataclass
class _Form:
    """A narrow form of the model that has been tried."""

    keep: Dict[str, str]
    judgement: Judgement
    worst: int  # the sample
    layers: int  # compute layers that it leaves in fp32
    is_dear: bool  # it leaves too much in fp32 for an output that only comes near a threshold

    def merit(self) -> Tuple[bool, bool, bool, int, float, int]:
        """Return the sort key of forms: the smallest is best."""
        judged = self.judgement
        error = math.inf if math.isnan(judged.error) else judged.error
        dear = self.is_dear and not judged.problems
        return bool(judged.problems), dear, bool(judged.doubtful), dear * self.layers, error, len(self.keep)

    def is_right(self) -> bool:
        """Return whether nothing is doubtful."""
        return not self.judgement.problems and (self.is_dear or not self.judgement.doubtful)


class _Search:
    def __init__(self, source: Source, target: str, judge: Judge, keep: Dict[str, str]) -> None:
        self.source, self.target, self.judge, self.keep = source, target, judge, keep
        nodes = list(graph.nodes(source.model))
        self.nodes, self.layers = len(nodes), {node.name for node in nodes if node.op_type in COMPUTE}
        self.forms = 0
        self.spoilt: Optional[List[Spoilt]] = None
        self.spread: Optional[Spread] = None
        self.latest: Optional[_Form] = None  # of those that keep the layers whose errors add up
        self.learnt = 0  # samples on which each layer was measured alone

    def _narrow(self, keep: Mapping[str, str]) -> retype.Retyped:
        copy = ModelProto()
        copy.CopyFrom(self.source.model)
        return retype.retype(copy, self.target, keep=keep, samples=True)

    def _pairs(self, keep: Mapping[str, str], samples: Sequence[int]) -> List[Tuple[Values, Values]]:
        """Return the outputs of the source and of a narrow form, for some samples."""
        twin = Segments(rounding.rounded(self._narrow(keep).model).model)
        right = self.source.outputs()
        return [(right[index], twin.run(self.source.feeds[index])) for index in samples]

    def _compared(self, keep: Mapping[str, str], samples: Sequence[int]) -> Judgement:
        return self.judge(self._pairs(keep, samples), self.source.outputs())

    def tried(self, keep: Dict[str, str]) -> _Form:
        """Return the result of trying a narrow form."""
        self.forms += 1
        pairs = self._pairs(keep, range(len(self.source.feeds)))
        apart = [self.judge([pair], self.source.outputs()) for pair in pairs]
        worst = max(range(len(pairs)), key=lambda index: (len(apart[index].problems), apart[index].error))
        more = keep.keys() - self.keep.keys()
        computing = len(more & self.layers)
        is_dear = computing > _SPARE * len(self.layers) or len(more) > _SPARE_NODES * self.nodes
        return _Form(keep, self.judge(pairs), worst, computing, is_dear)

    def adds_what_fails(self, form: _Form) -> bool:
        """Try a form on the other samples; if any fails by more than the known ones, add the worst to the samples."""
        worst = form.judgement.error if form.judgement.problems else 0.0
        failing: Optional[Tuple[Values, Values]] = None
        for feed, right, judged in self._on_others(form):
            if judged.problems and not judged.error <= worst:
                failing, worst = (feed, right), judged.error
        if failing is not None:
            self.source.add(*failing)
        return failing is not None

    def _on_others(self, form: _Form) -> Iterator[Tuple[Values, Values, Judgement]]:
        """Yield the other samples, as many as time allows, with the outputs of the source and the form's judgement."""
        twin = Segments(rounding.rounded(self._narrow(form.keep).model).model)
        most = _BYTES_OF_TRIALS * (_SHARE_OF_CALM if form.judgement.calm else 1)
        many = int(most / max(1, self.source.observed_bytes))
        for feed, right in self.source.answered(many):
            yield feed, right, self.judge([(right, twin.run(feed))], self.source.outputs())

    def ended(self) -> Optional[PrecisionSearch]:
        """Return how the search for layers whose errors add up ended, and which do most harm; None without one."""
        spread, form = self.spread, self.latest
        if spread is None or form is None:
            return None
        problems, error = bool(form.judgement.problems), form.judgement.error
        if problems:
            error = max([error, *(judged.error for _, _, judged in self._on_others(form))])
        kinds = {node.name: node.op_type for node in graph.nodes(self.source.model)}
        harmful = [
            HarmfulLayer(name=name, op_type=kinds[name], moves=by if math.isfinite(by) else None)
            for name, by in sorted(spread.moves.items(), key=lambda pair: -pair[1])[:_NAMED]
        ]
        return PrecisionSearch(
            right=not problems, error=error if math.isfinite(error) else None, layers=len(spread.moves),
            kept=len(form.keep.keys() & spread.moves.keys()), harmful=harmful,
        )  # fmt: skip

    def grown(self, first: _Form) -> _Form:
        """Return the best form that keeps what rounding spoils, or ``first``."""
        if self.spread is not None:
            return self._spread(first)
        if self.spoilt is None:
            self.spoilt = self._spoilt(first)
        spoilt = self.spoilt
        ways, best = Ways(self.source.model), first
        chosen: Dict[str, int] = {}
        for depths in _deeper_and_deeper(spoilt):
            if not best.is_right() and self.forms * self.source.observed_bytes <= _BYTES:
                form = self._with(ways, spoilt, depths)
                best, chosen = (form, depths) if form.merit() < best.merit() else (best, chosen)
        for name in reversed(list(chosen)[-_DROPPED:]) if self._is_settled(best) and len(chosen) > 1 else ():
            fewer = {each: depth for each, depth in chosen.items() if each != name}
            form = self._with(ways, spoilt, fewer)
            if form.is_right() and form.is_dear <= best.is_dear:
                best, chosen = form, fewer
        return best if self._is_settled(best) else self._spread(best)

    def _is_settled(self, form: _Form) -> bool:
        """Return whether a form keeps few layers, or is right by far and still partly narrow: fewer are riskier."""
        most = _MOST_LAYERS if form.judgement.calm else _SPARE
        return not form.judgement.problems and form.layers <= most * len(self.layers)

    def _spread(self, best: _Form) -> _Form:
        """Return a form that keeps the layers whose errors add up, or ``best`` if that keeps less."""
        spread = self.spread = self.spread or Spread(self.source.model, self.keep, self.source.macs)
        right, kept = self.source.outputs(), self._kept(spread.between)
        half_a_run = self.source.observed_bytes / SAMPLES / 2

        def narrow(part: ModelProto) -> ModelProto:
            return rounding.rounded(retype.retype(part, self.target, keep=kept, samples=True).model).model

        for index in range(self.learnt, len(self.source.feeds)):
            if index != best.worst and not self._compared(self.keep, [index]).doubtful:
                continue  # it tells nothing of what has to stay
            spread.learn(
                dict(self.source.feeds[index]), min(_MOST_RUNS, int(_BYTES_OF_LAYERS / max(1, half_a_run))), narrow,
                lambda outputs, own=right[index]: self.judge([(own, outputs)], right).error,  # type: ignore[misc]
            )  # fmt: skip
        self.learnt = len(self.source.feeds)
        found = spread.settled(lambda keep: self._is_right(self._kept(keep)), best.judgement.tolerable)
        form = self.latest = self.tried(self._kept(found))
        return form if not form.judgement.problems and form.merit() < best.merit() else best

    def _is_right(self, keep: Mapping[str, str]) -> bool:
        """Return whether no sample is doubtful; samples added because they failed come first."""
        latest = reversed(range(len(self.source.feeds)))
        return not any(self._compared(keep, [index]).doubtful for index in latest)

    def _kept(self, more: Mapping[str, str]) -> Dict[str, str]:
        return {**more, **self.keep}

    def _spoilt(self, form: _Form) -> List[Spoilt]:
        """Run the model once more, side by side with one of its forms."""
        doubtful = form.judgement.doubtful
        spare = None if form.judgement.problems else int(_SPARE * len(self.layers))
        repairs = Repairs(self.source.model, self._narrow(form.keep), self.target, doubtful=doubtful, spare=spare)
        self.source.runs += 1
        repairs.run(dict(self.source.feeds[form.worst]))
        return repairs.spoilt

    def _with(self, ways: Ways, spoilt: Sequence[Spoilt], depths: Mapping[str, int]) -> _Form:
        keep = dict(self.keep)
        for each in spoilt:
            if each.name in depths:
                for name, why in ways.kept(each.name, depths[each.name], each.why).items():
                    keep.setdefault(name, why)
        return self.tried(keep)


def _deeper_and_deeper(spoilt: Sequence[Spoilt]) -> Iterator[Dict[str, int]]:
    """Yield what to try: by node name, how many nodes up fp32 reaches."""
    tried: List[Dict[str, int]] = [{}]
    for rung in range(3):
        tried.append({each.name: each.depths[rung] for each in spoilt if each.depths})
        if tried[-1] != tried[-2]:
            yield tried[-1]
    yield {each.name: _DEEPER * max((1, *each.depths)) for each in spoilt}


def _overflowing(source: Source, target: str) -> Dict[str, str]:
    """Return the nodes with inputs or outputs that don't fit into the target type, with the reasons."""
    largest = NARROW[target].finite
    found: Dict[str, str] = {}
    for node in source.model.graph.node:
        floats = [name for name in node.input if name in source.seen]
        if node.op_type in FOLLOW and len(floats) < 2:
            continue  # it has the type of its input
        for name in (*node.output, *floats):
            most = source.seen[name].most if name in source.seen else 0.0
            if most * _ROOM > largest:
                why = f"{name!r} reaches {most:.3g}, {target} ends at {largest:g}"
                found.update(dict.fromkeys(with_bodies(node), why))
                break
    return found
