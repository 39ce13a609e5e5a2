"""Compares in a separate process: an engine, a driver or ONNX Runtime may crash on a model.

Its arguments are ``REQUEST EVENTS_FD``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from .. import gpu_turn, reach
from ..confinement import confine
from ..contract.comparison import Latency, OutputComparison, ScaleFit, Verification, missed
from ..contract.files import pass_on
from ..contract.job import ModelJob
from ..contract.verification import TF32, VerifyConfig
from ..converters.precision import rule
from ..errors import VerifyError, missing, outcome
from ..landlock import Reach
from ..onnx_graph import calibration_cache
from ..onnx_graph.calibration_cache import CalibrationCache
from ..onnx_graph.findings import Findings
from ..processes import die_with_parent, show_as
from . import needs, runners
from .reference import Reference, open_reference

if TYPE_CHECKING:
    from ..converters.engine_loading import Loaded

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
            raise missing(VerifyError, "verifying", "verify", error) from None

    answer["error"] = outcome(compare, "verify", no_memory=_NO_MEMORY)
    pass_on(request["result"], json.dumps(answer).encode("utf-8"))
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
    """What is compared.

    kind: engine, rewritten-onnx, or None if nothing can be compared. what: in words. precision: the one whose
    thresholds hold, if it isn't the model's.
    """

    kind: Optional[str]
    what: str
    runner: Any = None
    engine: Optional[Loaded] = None
    engine_not_run: Optional[str] = None
    precision: Optional[str] = None


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
        """Compare, and return the result."""
        verdict, described, origin, latency = "not-compared", "none", None, None
        outputs: List[OutputComparison] = []
        scales: Optional[ScaleFit] = None
        with contextlib.ExitStack() as stack:
            candidate = self._candidate(stack)
            if candidate.kind is not None:
                reference = stack.enter_context(open_reference(self.model, Path(self.request["source"]), self.work_dir))
                reference.expect()  # on the CPU, while another model may use the GPU
                if candidate.kind == "engine":
                    stack.enter_context(gpu_turn.held(self.request["timing_dir"], lambda: None))
                outputs = reference.compared(candidate.runner, candidate.precision or self.model.precision)
                origin = self._origin(candidate, reference) if any(output["problems"] for output in outputs) else None
                scales, described = self._scales(reference), reference.described
                latency = self._latency(candidate, reference) if candidate.engine else None
                verdict = "failed" if missed(outputs, scales) else "passed"
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
            loaded = runners.engine_of(
                Path(self.request["plan"]),
                self.request["module"],
                own=self.request["own"],
                plugins=self.model.plugins,
            )
            if loaded.engine is not None:
                engine = runners.engine_runner(loaded.engine, self.request["module"])
                what, precision = f"the engine on {self.request['gpu']}", None
                if self.request["tf32"]:
                    what, precision = f"{what}, which multiplies in TF32,", TF32
                return _Candidate("engine", what, engine, loaded, precision=precision)
            why_not = f"{self.request['gpu']} can't load it: {loaded.why_not}"
        if self.request["by_flags"]:
            why = "its precision was chosen by TensorRT's builder, so there is no rewritten model either"
            return _Candidate(None, why, engine_not_run=why_not)
        if not self._rewrites():
            why = "it was built from the source model as it is, so there is no rewritten model to compare"
            return _Candidate(None, why, engine_not_run=why_not)
        runner = runners.RoundedRunner(stack.enter_context(self._rewritten()))
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
    def _rewritten(self) -> Iterator[Path]:
        """Yield the graph from which the engine was built: what the same build step produces from the source."""
        from ..onnx_graph import rescue
        from ..onnx_graph.typed_model import prepared

        folder = self.work_dir / "candidate"
        folder.mkdir(mode=0o700, exist_ok=True)
        source = Path(self.request["source"])
        needs = rescue.survey(source, self.model) if self.request["rescued"] else rescue.Rescue()
        with prepared(
            self.model,
            source,
            folder,
            cache=self._cache(),
            on_phase=lambda _: None,
            findings=self.findings,
            needs=needs,
        ) as typed:
            yield typed.path

    def _cache(self) -> Optional[CalibrationCache]:
        cache = self.request["cache_file"]
        return calibration_cache.read(Path(cache), cache) if cache else None

    def _scales(self, reference: Reference) -> Optional[ScaleFit]:
        """Check the cache's scales against the samples, if onnx is installed to read the model's tensors."""
        cache = self._cache() if self.model.precision == "int8" else None
        if cache is None or importlib.util.find_spec("onnx") is None:
            return None
        return reference.scales(cache)

    def _origin(self, candidate: _Candidate, reference: Reference) -> Optional[str]:
        """Return where the rewritten model first departs from its source; None if the engine was run."""
        if not isinstance(candidate.runner, runners.RoundedRunner):
            return None
        from . import analysis

        source = Path(self.request["source"])
        return analysis.origin(self.model, source, candidate.runner.rounded, reference.feeds(), self.work_dir)

    def _latency(self, candidate: _Candidate, reference: Reference) -> Latency:
        from ..converters.engine_loading import memory_of

        engine = candidate.engine.engine if candidate.engine else None
        memory = memory_of(engine) if engine else None
        return runners.measure(candidate.runner, next(reference.feeds()), memory_bytes=memory)


def _reference_name() -> str:
    import onnxruntime

    return f"the source model in ONNX Runtime {onnxruntime.__version__} on the CPU"


def _statement(candidate: _Candidate, described: str) -> str:
    reference, why_not = _reference_name(), candidate.engine_not_run
    if candidate.kind is None:
        return f"Nothing was compared: the engine was not run ({why_not}), and {candidate.what}."
    compared = f"Compared {candidate.what} with {reference}, on {described}."
    return compared if why_not is None else f"{compared} The engine itself was not run: {why_not}."
