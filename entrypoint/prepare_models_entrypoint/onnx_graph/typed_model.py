"""The ONNX file that the parser reads: the model itself, or a copy changed as the manifest and the precision ask."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence

from onnx import ModelProto, TensorProto, version_converter

from ..contract.conversion import OnnxConfig
from ..contract.job import ModelJob
from ..contract.report import Calibration, WarningInfo
from ..converters.precision import Evidence, rule, unmatched
from ..errors import ConvertError
from . import batch_norm, calibration_cache, edits, fp16, graph, model_optimizer, proof, quantize
from .calibration_cache import CalibrationCache

# DequantizeLinear has an axis from 13 on, and fp16 scales from 19 on.
_OPSET_PER_CHANNEL = 13
_OPSET_HALF_SCALES = 19


@dataclass
class TypedModel:
    """A model file, how it got its types and what they show; None where a check left them as they are.

    calibration: set where a cache was read.
    """

    path: Path
    how: str
    evidence: Optional[Evidence]
    calibration: Optional[Calibration] = None
    warnings: List[WarningInfo] = field(default_factory=list)


@contextlib.contextmanager
def prepared(
    job: ModelJob, source: Path, work_dir: Path, *, cache: Optional[CalibrationCache],
    on_phase: Callable[[str], None], check_only: bool = False,
) -> Iterator[TypedModel]:  # fmt: skip
    """Yield the model for a strongly typed backend; a rewritten copy exists for as long as the block runs.

    Args:
        job: precision, and what else the manifest asks of the graph.
        source: the plain ONNX file.
        work_dir: private directory for the copy.
        cache: scales for int8, None without a cache.
        on_phase: called with the name of each step.
        check_only: only judge the precision: rewriting takes seconds for each 100 MB.
    """
    changed = job.onnx != OnnxConfig()
    model = edits.apply(graph.load(source, weights=changed or not check_only), job.onnx)
    with _well_formed(source):
        evidence = proof.of_graph(model)
    chosen = rule(
        job.precision,
        flags=None,
        has_qdq=graph.has_qdq(model),
        has_cache=cache is not None,
        remainder=job.builder.int8_remainder,
        has_samples=job.calibration is not None,
        typed=bool(evidence.layers.get(job.precision)),
    )
    typed = TypedModel(source, chosen.how, evidence)
    if chosen.rewrites:
        typed.warnings += unmatched(job.keep_fp32, (node.name for node in graph.nodes(model)))
    elif job.keep_fp32 and job.precision != "fp32":
        raise ConvertError(
            "builder-option-unavailable",
            f"keep_fp32 would be ignored: the model is built with the types that it has ({chosen.how})",
            hint="remove keep_fp32, or give the model without its own types",
        )
    rewriter = _Rewriter(job, cache, work_dir, typed, on_phase)
    with _well_formed(source):
        if chosen.rewrites and check_only:
            rewriter.judge(model, chosen.rewrites)
        elif chosen.rewrites:
            model, changed = rewriter.rewrite(model, chosen.rewrites), True
            typed.evidence = proof.of_graph(model)
    if not changed:
        yield typed
        return
    typed.path = work_dir / "rewritten.onnx"
    try:
        graph.save(model, typed.path)
        del model
        yield typed
    finally:
        for leftover in work_dir.glob("rewritten.onnx*"):
            leftover.unlink()


@contextlib.contextmanager
def _well_formed(source: Path) -> Iterator[None]:
    """Turn what a graph against the rules of ONNX leads to (a missing input, weights of a wrong size) into an error."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ConvertError(
            "onnx-node-invalid",
            f"{source.name} is not well formed, it can't be rewritten: {type(error).__name__}: {error}",
            hint="export the model again; onnx.checker names the node",
        ) from error


@dataclass
class _Rewriter:
    """Brings about the precision that a job asks, and notes in ``typed`` what came of it."""

    job: ModelJob
    cache: Optional[CalibrationCache]
    work_dir: Path
    typed: TypedModel
    on_phase: Callable[[str], None]

    def judge(self, model: ModelProto, steps: Sequence[str]) -> None:
        self.typed.evidence = None
        if "fp16" in steps:
            fp16.check()
        if self.cache is not None and self.job.precision == "int8":
            done = quantize.survey(model, self.cache.scales, keep_fp32=self.job.keep_fp32)
            self._cover(self.cache, done, graph.tensor_names(model))
        elif self.job.precision in ("bf16", "fp8"):
            model_optimizer.check(self.job.precision)

    def rewrite(self, model: ModelProto, steps: Sequence[str]) -> ModelProto:
        names = graph.tensor_names(model)
        if "qdq" in steps:
            batch_norm.fold(model)
        for step in steps:
            self.on_phase(f"rewrite to {'int8' if step == 'qdq' else step}")
            model = self._step(model, step, names)
        return model

    def _step(self, model: ModelProto, step: str, names: Sequence[str]) -> ModelProto:
        if step == "fp16":
            model, warnings = fp16.rewrite(model, keep_fp32=self.job.keep_fp32)
            self.typed.warnings += warnings
        elif step == "bf16":
            return model_optimizer.to_bf16(model, self.work_dir, keep_fp32=self.job.keep_fp32)
        elif step == "fp8":
            return model_optimizer.to_fp8(model, self.job, self.work_dir)
        elif self.cache is not None:
            half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
            model = _of_opset(model, _OPSET_HALF_SCALES if half else _OPSET_PER_CHANNEL, required=_OPSET_PER_CHANNEL)
            self._cover(
                self.cache, quantize.insert(model, self.cache.scales, names=names, keep_fp32=self.job.keep_fp32), names
            )
        return model

    def _cover(self, cache: CalibrationCache, done: quantize.Quantized, names: Sequence[str]) -> None:
        """Note how much of the model the cache covers, and refuse one that covers too little."""
        self.typed.calibration = calibration_cache.coverage(cache, done.wanted, names)
        for told in calibration_cache.check(self.typed.calibration, allow_fallback=self.job.allow_fallback):
            self.typed.warnings.append(
                WarningInfo(
                    code="calibration-incomplete",
                    message=f"{told}; {len(done.skipped)} layers stay out of int8: {', '.join(done.skipped[:5])}",
                    hint="use the calibration cache of exactly this model version",
                )
            )


def _of_opset(model: ModelProto, wanted: int, *, required: int) -> ModelProto:
    if graph.opset(model) >= wanted:
        return model
    try:
        return version_converter.convert_version(model, wanted)
    except Exception as error:  # noqa: BLE001  # the converter raises several types for operators without a way up
        if graph.opset(model) >= required:
            return model
        raise ConvertError(
            "precision-unavailable",
            f"int8 needs opset {required}; this model has {graph.opset(model)} and can't be lifted: {error}",
            hint=f"export the model with opset {required} or later",
        ) from None
