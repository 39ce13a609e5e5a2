"""``precision: auto``: the lowest precision that passes a verification with all its samples and thresholds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Callable, List, Optional, Tuple

from onnx import ModelProto

from ..contract.comparison import missed
from ..contract.job import ModelJob
from ..contract.precision import AUTO
from ..contract.report import PrecisionChoice, WarningInfo
from ..errors import ConvertError
from ..onnx_graph import graph
from ..onnx_graph.calibration_cache import CalibrationCache
from ..onnx_graph.findings import Findings
from ..onnx_graph.typed_model import as_asked, prepared
from . import analysis, needs, runners
from .reference import open_reference

_LOWEST_FIRST = ("int8", "fp16", "fp32")


def choose(
    job: ModelJob, source: Path, work_dir: Path, cache: Optional[CalibrationCache], on_phase: Callable[[str], None]
) -> Tuple[ModelJob, Findings]:
    """Return the model with the chosen precision, and what the samples showed.

    Raises:
        VerifyError: ONNX Runtime is missing or can't run the model, or the samples can't be used.
    """
    needs.check_modules()
    chooser = _Chooser(job, source, work_dir, cache, on_phase)
    rows: List[PrecisionChoice] = []
    chosen = "fp32"
    for precision in _LOWEST_FIRST:
        if any(row["verdict"] == "chosen" for row in rows):
            rows.append(_row(precision, "not-tried", "a lower precision meets the thresholds"))
            continue
        rows.append(chooser.weigh(precision))
        if rows[-1]["verdict"] == "chosen":
            chosen = precision
    found = chooser.findings if chosen != "fp32" and chooser.findings is not None else Findings({}, None)
    warnings = [] if chooser.given.asked or chooser.given.real else [_on_random(chosen)]
    return replace(job, precision=chosen), Findings(
        found.keep, chooser.described, runs=chooser.watched.runs, search=found.search, share=found.share,
        warnings=warnings, choices=rows,
    )  # fmt: skip


def _on_random(chosen: str) -> WarningInfo:
    return WarningInfo(
        code="ranges-from-random",
        message=f"precision: auto chose {chosen} on random numbers",
        hint="give samples with verify: {npz: FILE} or verify: {images: DIR}; other inputs may need more",
    )


class _Chooser:
    def __init__(
        self, job: ModelJob, source: Path, work_dir: Path, cache: Optional[CalibrationCache],
        on_phase: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.job, self.source, self.work_dir, self.cache, self.on_phase = job, source, work_dir, cache, on_phase
        self.model: ModelProto = as_asked(job, source, work_dir)
        self.given = analysis.samples_of(job)
        self.known = analysis.watched(job, self.given, self.model)
        self.described, self.watched = self.known
        self.findings: Optional[Findings] = None

    def weigh(self, precision: str) -> PrecisionChoice:
        """Return the result of trying a precision."""
        if precision == "fp32":
            return _row(precision, "chosen", "as exported", error=0.0)
        if precision == "int8" and self.cache is None and not graph.has_qdq(self.model):
            return _row(precision, "impossible", "there is no calibration, and the model has no Q/DQ nodes")
        if precision == "int8" and self.cache is not None and self.cache.refused is not None:
            return _row(precision, "missed", self.cache.refused)
        self.on_phase(f"weigh {precision}")
        if self.findings is None:
            asked = replace(self.job, precision="fp16", keep_fp32=(*self.job.kept_patterns, AUTO))
            self.findings = analysis.find(asked, self.source, self.on_phase, self.known)
        try:
            return self._judged(precision)
        except ConvertError as error:
            return _row(precision, "impossible", error.message)

    def _judged(self, precision: str) -> PrecisionChoice:
        """Return what a verification in a precision would find, with all samples and the same thresholds."""
        job = replace(self.job, precision=precision, verify=self.given.config)
        with prepared(
            job, self.source, self.work_dir, cache=self.cache, on_phase=self.on_phase, findings=self.findings
        ) as typed, open_reference(job, self.source, self.work_dir) as reference:
            outputs = reference.compared(runners.RoundedRunner(typed.path), precision)
            scales = reference.scales(self.cache) if precision == "int8" and self.cache is not None else None
        kept = sum(not node.harmless for node in typed.kept)
        error = max((output["max_of_range"] or 0.0 for output in outputs), default=0.0)
        problems = missed(outputs, scales)
        if problems:
            return _row(precision, "missed", f"on {reference.described}: {'; '.join(problems)}", kept=kept, error=error)
        if typed.evidence is None or not typed.evidence.layers.get(precision):
            return _row(precision, "missed", "no compute layer would have it", kept=kept, error=error)
        text = f"meets the thresholds on {reference.described}"
        return _row(precision, "chosen", text, kept=kept, error=error)


def _row(precision: str, verdict: str, told: str, *, kept: int = 0, error: Optional[float] = None) -> PrecisionChoice:
    return PrecisionChoice(precision=precision, verdict=verdict, kept=kept, error=error, told=told)
