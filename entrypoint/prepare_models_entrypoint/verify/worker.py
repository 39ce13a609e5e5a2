"""Compares in a process of its own: an engine, a driver or ONNX Runtime may crash on a model.

Its arguments are ``REQUEST EVENTS_FD``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from .. import gpu_turn, reach
from ..confinement import confine
from ..contract.comparison import Latency, OutputComparison, ScaleFit, Verification
from ..contract.conversion import OnnxConfig
from ..contract.files import write_atomic
from ..contract.job import ModelJob
from ..contract.verification import VerifyConfig
from ..converters.precision import rule
from ..errors import VerifyError, outcome
from ..landlock import Reach
from ..onnx_graph import calibration_cache
from ..onnx_graph.findings import Findings
from ..processes import die_with_parent, show_as
from . import needs, runners, samples
from .metrics import OutputMetrics

_NO_MEMORY = VerifyError(
    "verification-impossible", "there was not enough memory to compare", hint="verify on a larger machine"
)


def main(argv: Sequence[str]) -> int:
    """Write what was compared with what, and the numbers, to the request's result file."""
    request: Dict[str, Any] = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    die_with_parent(request["parent"])
    show_as("prepare-verify")
    confine(_reach(request), private=Path(request["work_dir"]))
    answer: Dict[str, Any] = {"error": None, "verification": None}

    def compare() -> None:
        try:
            answer["verification"] = Comparison(request).verification()
        except ImportError as error:
            raise runners.missing(error) from None

    answer["error"] = outcome(compare, "verify", no_memory=_NO_MEMORY)
    write_atomic(request["result"], json.dumps(answer).encode("utf-8"), mode=0o600)
    return 0


def _reach(request: Mapping[str, Any]) -> Reach:
    return reach.of(
        work_dir=Path(request["work_dir"]),
        source=Path(request["source"]),
        model=ModelJob.from_dict(request["model"]),
        read=[request["plan"], request["cache_file"]],
        write=[request["timing_dir"]],
    )


@dataclass
class _Candidate:
    """What is judged. ``kind``: engine, rewritten-onnx, or None where there is nothing to judge; ``what`` tells it."""

    kind: Optional[str]
    what: str
    runner: Any = None
    engine: Optional[runners.Engine] = None
    engine_not_run: Optional[str] = None


class Comparison:
    """One request's comparison."""

    def __init__(self, request: Dict[str, Any]) -> None:
        self.model = ModelJob.from_dict(request["model"])
        self.config = self.model.verify or VerifyConfig()
        self.request = request
        needs.check_modules()
        self.work_dir = Path(request["work_dir"])
        found = request["findings"]
        self.findings = Findings.from_dict(found) if found else None

    def verification(self) -> Verification:
        """Compare, and return what came of it."""
        with contextlib.ExitStack() as stack:
            candidate = self._candidate(stack)
            if candidate.kind is None:
                return self._report(candidate, "not-compared", "none", [], None, None, None)
            if candidate.kind == "engine":
                stack.enter_context(gpu_turn.held(self.request["timing_dir"], lambda: None))
            source = stack.enter_context(self._graph("fp32", "reference"))
            reference = runners.session(source)
            inputs = self._inputs(reference)
            described, feeds = samples.feeds(self.config, inputs)
            outputs = self._compared(reference, candidate.runner, feeds)
            origin = self._origin(candidate, inputs) if any(output["problems"] for output in outputs) else None
            scales = self._scales(source, inputs)
            latency = self._latency(candidate, inputs) if candidate.engine else None
        too_wide = scales is not None and scales["judged"] and scales["problem"] is not None
        failed = too_wide or any(output["problems"] for output in outputs)
        return self._report(candidate, "failed" if failed else "passed", described, outputs, scales, latency, origin)

    def _report(  # noqa: PLR0917  # one value for each part of the report
        self, candidate: _Candidate, verdict: str, described: str, outputs: List[OutputComparison],
        scales: Optional[ScaleFit], latency: Optional[Latency], origin: Optional[str],
    ) -> Verification:  # fmt: skip
        return Verification(
            verdict=verdict,
            statement=_statement(candidate, described),
            reference=_reference_name(),
            candidate=candidate.kind,
            engine_not_run=candidate.engine_not_run,
            samples=described,
            outputs=outputs,
            origin=origin,
            scales=scales,
            latency=latency,
            latency_absent=None if latency else f"the engine was not run: {candidate.engine_not_run}",
            settings=self.config.to_dict(),
        )

    def _candidate(self, stack: contextlib.ExitStack) -> _Candidate:
        why_not = self.request["no_gpu"]
        if why_not is None:
            loaded = runners.engine_of(Path(self.request["plan"]), self.request["module"])
            if loaded.engine is not None:
                engine = runners.engine_runner(loaded.engine, self.request["module"])
                return _Candidate("engine", f"the engine on {self.request['gpu']}", engine, loaded)
            why_not = f"{self.request['gpu']} can't load it: {loaded.why_not}"
        if self.request["by_flags"]:
            why = "its precision was chosen by TensorRT's builder, so there is no rewritten model either"
            return _Candidate(None, why, engine_not_run=why_not)
        if not self._rewrites():
            why = "it was built from the source model as it is, so there is no rewritten model to compare"
            return _Candidate(None, why, engine_not_run=why_not)
        runner = runners.RoundedRunner(stack.enter_context(self._graph(self.model.precision, "candidate")))
        half = "bf16" if self.model.precision == "bf16" else "fp16"
        what = (
            f"the model rewritten to {self.model.precision}, from which the engine was built, computed on the CPU "
            f"with each {half} tensor rounded and sums in fp32,"
        )
        return _Candidate("rewritten-onnx", what, runner, engine_not_run=why_not)

    def _rewrites(self) -> Tuple[str, ...]:
        if self.model.precision == "fp32":
            return ()
        from ..onnx_graph import graph, model_file

        has_qdq = graph.has_qdq(model_file.load(Path(self.request["source"])))
        return rule(
            self.model.precision, flags=None, has_qdq=has_qdq, has_cache=self.request["cache_file"] is not None,
            remainder=self.model.builder.int8_remainder,
        ).rewrites  # fmt: skip

    @contextlib.contextmanager
    def _graph(self, precision: str, name: str) -> Iterator[Path]:
        """Yield the model with the manifest's changes and in a precision: what the same build step made of it."""
        if precision == "fp32" and self.model.onnx == OnnxConfig():
            yield self._named(Path(self.request["source"]))
            return
        from ..onnx_graph import rescue
        from ..onnx_graph.typed_model import prepared

        folder = self.work_dir / name
        folder.mkdir(mode=0o700, exist_ok=True)
        cache = self.request["cache_file"] if precision != "fp32" else None
        job = dataclasses.replace(self.model, precision=precision)
        scales = calibration_cache.read(Path(cache), cache) if cache else None
        source = Path(self.request["source"])
        needs = rescue.survey(source, job) if self.request["rescued"] and name == "candidate" else rescue.Rescue()
        with prepared(
            job, source, folder, cache=scales, on_phase=lambda _: None,
            findings=self.findings if precision != "fp32" else None, needs=needs,
        ) as typed:  # fmt: skip
            yield typed.path

    def _named(self, source: Path) -> Path:
        """Return the source, or a copy with other names where nodes share one, which ONNX Runtime refuses."""
        if importlib.util.find_spec("onnx") is None:
            return source
        from ..onnx_graph import graph, model_file, prepare

        model = model_file.load(source)
        names = [node.name for node in graph.nodes(model) if node.name]
        if len(set(names)) == len(names):
            return source
        copy = self.work_dir / "named.onnx"
        model_file.save(prepare.prepare(model), copy)
        return copy

    def _inputs(self, reference: Any) -> List[samples.Input]:
        return [
            (
                value.name,
                runners.dtype_of(value.name, value.type),
                samples.shape_of(value.name, value.shape, self.model),
            )
            for value in reference.get_inputs()
        ]

    def _compared(self, reference: Any, candidate: Any, feeds: Iterator[samples.Feed]) -> List[OutputComparison]:
        outputs = [value.name for value in reference.get_outputs()]
        needs.check_outputs(self.config, outputs)
        limits = {name: self.config.of_output(name, self.model.precision) for name in outputs}
        metrics = {name: OutputMetrics(name, limits[name].argmax_axis) for name in outputs}
        with candidate as active:
            for feed in _kept(feeds):
                right = dict(zip(outputs, reference.run(outputs, dict(feed))))
                _collect(metrics, right, active.infer(feed_dict=feed))
        return [
            metrics[name].result(limits[name], named=name in self.config.outputs, asked=self.config.asks(name))
            for name in outputs
        ]

    def _scales(self, source: Path, inputs: List[samples.Input]) -> Optional[ScaleFit]:
        """Hold the cache's scales against the samples, where ONNX is there to ask the model for its tensors."""
        cache = self.request["cache_file"] if self.model.precision == "int8" else None
        if cache is None or importlib.util.find_spec("onnx") is None:
            return None
        from . import scales

        known = calibration_cache.read(Path(cache), cache).scales
        _, feeds = samples.feeds(self.config, inputs)
        return scales.fit(source, known, feeds, self.work_dir / "scales", self.config)

    def _origin(self, candidate: _Candidate, inputs: List[samples.Input]) -> Optional[str]:
        """Return where the rewritten model first leaves its source, None where the engine was run."""
        if not isinstance(candidate.runner, runners.RoundedRunner):
            return None
        from . import analysis

        _, feeds = samples.feeds(self.config, inputs)
        return analysis.origin(self.model, Path(self.request["source"]), candidate.runner.rounded, feeds)

    def _latency(self, candidate: _Candidate, inputs: List[samples.Input]) -> Latency:
        from ..converters.engine_loading import memory_of

        _, feeds = samples.feeds(self.config, inputs)
        memory = memory_of(candidate.engine.engine) if candidate.engine else None
        return runners.measure(candidate.runner, next(feeds), memory_bytes=memory)


def _kept(feeds: Iterator[samples.Feed]) -> Iterator[samples.Feed]:
    """Yield the samples; that there is one at all is settled here."""
    first = next(feeds, None)
    if first is None:
        raise needs.no_sample()
    return itertools.chain([first], feeds)


def _collect(metrics: Dict[str, OutputMetrics], reference: samples.Feed, candidate: Mapping[str, Any]) -> None:
    for name, one in metrics.items():
        if name in candidate:
            one.add(reference[name], candidate[name])
        else:
            one.problem = "the output is missing"


def _reference_name() -> str:
    import onnxruntime

    return f"the source model in ONNX Runtime {onnxruntime.__version__} on the CPU"


def _statement(candidate: _Candidate, described: str) -> str:
    reference, why_not = _reference_name(), candidate.engine_not_run
    if candidate.kind is None:
        return f"Nothing was compared: the engine was not run ({why_not}), and {candidate.what}."
    compared = f"Compared {candidate.what} with {reference}, on {described}."
    return compared if why_not is None else f"{compared} The engine itself was not run: {why_not}."
