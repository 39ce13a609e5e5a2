"""The source model in ONNX Runtime: its outputs on the samples are right, and others are compared to them."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional

from ..contract import external_data
from ..contract.comparison import OutputComparison, ScaleFit
from ..contract.conversion import OnnxConfig
from ..contract.job import ModelJob
from ..contract.verification import VerifyConfig
from ..onnx_graph.calibration_cache import CalibrationCache
from . import needs, runners, samples
from .metrics import OutputMetrics

if TYPE_CHECKING:
    from ..onnx_graph.meaning import Meaning

_HELD_BYTES = 256 << 20  # bytes of outputs
_SIZES = 64  # bytes: of a shape, axes or the factors of a Resize


class Reference:
    """A source model and the samples of its verification.

    Args:
        job: the model, with ``verify``.
        graph: the source with the manifest's changes.
        work_dir: private directory.

    Raises:
        VerifyError: ONNX Runtime can't run it, or the samples can't be used.
    """

    def __init__(self, job: ModelJob, graph: Path, work_dir: Path) -> None:
        self.config = job.verify or VerifyConfig()
        self._graph, self._work_dir = graph, work_dir
        self._session: Any = runners.session(graph)
        self._answers: List[samples.Feed] = []
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._inputs = [
            samples.Input(
                value.name, runners.dtype_of(value.name, value.type), samples.shape_of(value.name, value.shape, job)
            )
            for value in self._session.get_inputs()
        ]
        self.described, _ = samples.feeds(self.config, self._inputs)

    def feeds(self) -> Iterator[samples.Feed]:
        """Yield the samples; there is at least one."""
        return samples.feeds(self.config, self._inputs)[1]

    def expect(self) -> None:
        """Run the source model on all samples and close it, so that a candidate has its memory.

        If the outputs of several are too large to keep, it stays open and runs alongside the candidate.
        """
        if self._answers:
            return
        held = 0
        for feed in self.feeds():
            answer = self._answer(feed)
            held += sum(getattr(value, "nbytes", 0) for value in answer.values())
            if self._answers and held > _HELD_BYTES:
                return
            self._answers.append(answer)
        self._session = None

    def _answer(self, feed: samples.Feed) -> samples.Feed:
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, dict(feed))))
        except runners.runtime_errors() as error:  # of an output's type, too: numpy has no bf16
            raise runners.cannot_run(error) from None

    def compared(self, candidate: Any, precision: str) -> List[OutputComparison]:
        """Compare each output of a candidate, by the thresholds of its precision.

        Args:
            candidate: a runner with Polygraphy's interface.
            precision: the one in which it computes.
        """
        outputs = self._outputs
        needs.check_outputs(self.config, outputs)
        limits = {name: self.config.of_output(name, precision) for name in outputs}
        meaning = _meaning(self._graph, next(self.feeds()))
        metrics = {name: OutputMetrics(name, limits[name].argmax_axis, meaning) for name in outputs}
        self.expect()
        with candidate as active:
            for index, feed in enumerate(self.feeds()):
                right = self._answers[index] if index < len(self._answers) else self._answer(feed)
                _collect(metrics, right, active.infer(feed_dict=feed))
        return [
            metrics[name].result(limits[name], named=name in self.config.outputs, asked=self.config.asks(name))
            for name in outputs
        ]

    def scales(self, cache: CalibrationCache) -> Optional[ScaleFit]:
        """Check the scales of a cache against the samples."""
        from . import scales

        return scales.fit(self._graph, cache.scales, self.feeds(), self._work_dir / "scales", self.config)


@contextlib.contextmanager
def open_reference(job: ModelJob, source: Path, work_dir: Path) -> Iterator[Reference]:
    """Yield the source model with the manifest's changes to its graph, in its own precision."""
    if job.onnx == OnnxConfig():
        yield Reference(job, _runnable(source, work_dir), work_dir)
        return
    from ..onnx_graph.typed_model import prepared

    folder = work_dir / "reference"
    folder.mkdir(mode=0o700, exist_ok=True)
    with prepared(replace(job, precision="fp32"), source, folder, cache=None, on_phase=lambda _: None) as typed:
        yield Reference(job, typed.path, work_dir)


def _runnable(source: Path, work_dir: Path) -> Path:
    """Return the source, or a copy without what ONNX Runtime refuses.

    That is nodes that share a name, sizes in other files, and functions of another opset.
    """
    if importlib.util.find_spec("onnx") is None:
        return source
    from ..onnx_graph import graph, model_file, prepare

    model = model_file.load(source)
    names = [node.name for node in graph.nodes(model) if node.name]
    sizes = any((tensor.length or tensor.needed or 0) <= _SIZES for tensor in external_data.tensors(source))
    if len(set(names)) == len(names) and not sizes and not model.functions:
        return source
    copy = work_dir / "runnable.onnx"
    model_file.save(prepare.prepare(model), copy)
    return copy


def _meaning(graph: Path, feed: samples.Feed) -> Optional["Meaning"]:
    """Return what the outputs mean, if onnx is installed to read the graph and its nodes can run one by one."""
    if importlib.util.find_spec("onnx") is None:
        return None
    from ..onnx_graph import meaning, model_file, prepare

    try:
        return meaning.of(prepare.prepare(model_file.load(graph)), feed)
    except runners.runtime_errors():
        return None  # ONNX Runtime runs it as a whole only


def _collect(metrics: Dict[str, OutputMetrics], reference: samples.Feed, candidate: Mapping[str, Any]) -> None:
    for name, one in metrics.items():
        if name in candidate:
            one.add(reference[name], candidate[name])
        else:
            one.problem = "the output is missing"
