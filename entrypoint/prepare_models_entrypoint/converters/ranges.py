"""What samples show about a model before its graph is rewritten: nodes that stay in fp32, and a precision left open."""

from __future__ import annotations

import dataclasses
import glob
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional

from ..contract.precision import AUTO
from ..contract.report import PrecisionChoice, PrecisionProof
from ..onnx_graph.calibration_cache import CalibrationCache
from ..onnx_graph.findings import Findings
from .request import BuildRequest

_REWRITTEN = ("fp16", "bf16", "int8")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settled:
    """A request whose precision is known, and what samples showed; None if nothing was measured."""

    request: BuildRequest
    findings: Optional[Findings]
    requested: str

    def note(self, proof: PrecisionProof) -> None:
        """Record in a proof what was asked for and what was measured."""
        proof["requested"] = self.requested
        if self.findings is not None:
            proof["measured"], proof["choices"] = self.findings.measured, self.findings.choices
            proof["measured_runs"], proof["search"] = self.findings.runs, self.findings.search
            proof["kept_share"] = self.findings.share

    def keeping(self, nodes: Dict[str, str]) -> Settled:
        """Return the same with more nodes in fp32; ``nodes``: reasons by name."""
        findings = self.findings or Findings({}, None, trusted=False)
        return dataclasses.replace(self, findings=dataclasses.replace(findings, keep={**findings.keep, **nodes}))

    def in_fp32(self, **request: object) -> Settled:
        """Return the same without a change of precision; ``request``: other changes to the request."""
        model = dataclasses.replace(self.request.model, precision="fp32", keep_fp32=())
        changed = dataclasses.replace(self.request, model=model, **request)  # type: ignore[arg-type]  # fields of it
        return dataclasses.replace(self, request=changed, findings=_in_fp32(self.findings))


def _in_fp32(findings: Optional[Findings]) -> Optional[Findings]:
    """Return findings that choose fp32, as the builder accepts nothing lower."""
    if findings is None:
        return None
    rows = [
        PrecisionChoice(**{**row, "verdict": "impossible", "told": "the builder refuses it"})
        if row["verdict"] == "chosen"
        else PrecisionChoice(**{**row, "verdict": "chosen", "told": "as exported", "error": 0.0})
        if row["precision"] == "fp32"
        else row
        for row in findings.choices
    ]
    return dataclasses.replace(findings, keep={}, choices=rows)


def settle(request: BuildRequest, cache: Optional[CalibrationCache], progress: Progress, *, weakly: bool) -> Settled:
    """Measure what is needed to settle a model's precision.

    Args:
        request: what to build.
        cache: scales for int8.
        progress: called at each step.
        weakly: whether the builder chooses the types, and accepts names of layers that stay in fp32.
    """
    job, source = request.model, Path(request.source)
    findings: Optional[Findings] = None
    if job.precision == AUTO:
        from ..verify import choice

        job, findings = choice.choose(job, source, Path(request.work_dir), cache, _on_phase(progress))
    elif job.precision in _REWRITTEN and (not weakly or importlib.util.find_spec("onnx") is not None):
        from ..verify import analysis

        findings = analysis.find(job, source, _on_phase(progress), work_dir=Path(request.work_dir))
    if weakly and findings is not None:
        job = dataclasses.replace(job, keep_fp32=(*job.kept_patterns, *map(glob.escape, findings.keep)))
    return Settled(dataclasses.replace(request, model=job), findings, request.model.precision)


def _on_phase(progress: Progress) -> Callable[[str], None]:
    return lambda phase: progress(phase, 0, 0)
