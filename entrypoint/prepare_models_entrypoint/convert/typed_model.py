"""The ONNX file that the parser reads: the model itself, or a copy changed as the manifest and the precision ask."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence

from onnx import ModelProto, TensorProto, version_converter

from ..contract import OnnxConfig
from ..contract.report import Calibration, WarningInfo
from ..errors import ConvertError
from . import calibration_cache, fp16, graph, proof, quantize, surgery
from .calibration_cache import CalibrationCache
from .precision import Evidence, rule

# DequantizeLinear has an axis from 13 on, and fp16 scales from 19 on.
_OPSET_PER_CHANNEL = 13
_OPSET_HALF_SCALES = 19


@dataclass
class TypedModel:
    """A model file, how it got its types and what they show. ``calibration`` is set where a cache was read."""

    path: Path
    how: str
    evidence: Evidence
    calibration: Optional[Calibration] = None
    warnings: List[WarningInfo] = field(default_factory=list)


@contextlib.contextmanager
def prepared(
    source: Path, work_dir: Path, *, precision: str, cache: Optional[CalibrationCache], keep_fp32: Sequence[str],
    remainder: Optional[str], changes: OnnxConfig, allow_fallback: bool, on_phase: Callable[[str], None],
) -> Iterator[TypedModel]:  # fmt: skip
    """Yield the model for a strongly typed backend; a rewritten copy exists for as long as the block runs.

    Args:
        source: the plain ONNX file.
        work_dir: private directory for the copy.
        precision: what the manifest asks.
        cache: scales for int8, None without a cache.
        keep_fp32: patterns of node names that keep their precision.
        remainder: precision of what int8 does not reach.
        changes: what the manifest asks to change in the graph itself.
        allow_fallback: whether a cache that covers a smaller part is enough.
        on_phase: called with the name of each step.
    """
    model = surgery.apply(graph.load(source), changes)
    chosen = rule(precision, flags=None, has_qdq=graph.has_qdq(model), has_cache=cache is not None, remainder=remainder)
    typed, names = TypedModel(source, chosen.how, proof.of_graph(model)), graph.tensor_names(model)
    for step in chosen.rewrites:
        on_phase(f"rewrite to {'int8' if step == 'qdq' else step}")
        if step == "fp16":
            model, warnings = fp16.rewrite(model, keep_fp32=keep_fp32)
            typed.warnings += warnings
        elif cache is not None:
            model = _quantized(model, cache, typed, names=names, keep_fp32=keep_fp32, allow=allow_fallback)
    if not chosen.rewrites and changes == OnnxConfig():
        yield typed
        return
    typed.path = work_dir / "rewritten.onnx"
    typed.evidence = proof.of_graph(model)
    try:
        graph.save(model, typed.path)
        del model
        yield typed
    finally:
        for leftover in work_dir.glob("rewritten.onnx*"):
            leftover.unlink()


def _quantized(
    model: ModelProto, cache: CalibrationCache, typed: TypedModel, *, names: Sequence[str], keep_fp32: Sequence[str],
    allow: bool,
) -> ModelProto:  # fmt: skip
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    model = _of_opset(model, _OPSET_HALF_SCALES if half else _OPSET_PER_CHANNEL, required=_OPSET_PER_CHANNEL)
    done = quantize.insert(model, cache.scales, names=names, keep_fp32=keep_fp32)
    typed.calibration = calibration_cache.coverage(cache, done.wanted, names)
    for told in calibration_cache.check(typed.calibration, allow_fallback=allow):
        typed.warnings.append(
            WarningInfo(
                code="calibration-incomplete",
                message=f"{told}; {len(done.skipped)} layers stay out of int8: {', '.join(done.skipped[:5])}",
                hint="use the calibration cache of exactly this model version",
            )
        )
    return model


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
