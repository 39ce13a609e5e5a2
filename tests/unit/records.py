"""An engine as a run leaves it on the disk, for decisions about it. Its bytes are no engine, and nothing loads them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from prepare_models.manifest.model import ModelSpec
from prepare_models_entrypoint.contract.environment import BackendInfo, GpuInfo, RuntimeInfo
from prepare_models_entrypoint.contract.identity import build_key, identity
from prepare_models_entrypoint.contract.report import (
    BUILT,
    Binding,
    Engine,
    Material,
    ModelReport,
    PrecisionProof,
    ProfileShapes,
    StageResult,
    blank,
)
from prepare_models_entrypoint.contract.source import Source

RUNTIME = RuntimeInfo(
    python="3.10.12",
    machine="aarch64",
    backend=BackendInfo(name="tensorrt", version="10.3.0"),
    gpu=GpuInfo(name="Orin", compute_capability="8.7", driver="540.4.0", cuda_version="12.6"),
    gpu_reason=None,
    system="linux",
    board=None,
    programs={},
    library=None,
    etlt_codec=False,
    others=[],
    packages={},
)
PLAN_BYTES = b"plan bytes"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def report_of(spec: ModelSpec, output_dir: Path, digests: dict[str, str], runtime: RuntimeInfo) -> ModelReport:
    """Return the report of a built model. ``digests``: sha256 for each role."""
    report = blank(spec.name, spec.source, precision=spec.precision, converter=spec.converter)
    sources = {"model": spec.source, "calibration_cache": spec.calibration_cache or ""}
    fields = identity(
        spec.job(output_dir),
        runtime,
        model_sha256=digests["model"],
        calibration_sha256=digests.get("calibration_cache"),
    )
    report["status"], report["reason"] = BUILT, "no engine yet"
    report["precision_proof"] = PrecisionProof(
        requested=spec.precision, delivered=spec.precision, how="as exported", source="engine",
        layers={spec.precision: 1}, layers_share={spec.precision: 1.0}, weights_share={}, calibration=None,
        means="exported", flags=[], kept=[], kept_harmless=0, measured=None, measured_runs=0, kept_share=None,
        search=None, choices=[],
    )  # fmt: skip
    report["materials"] = [
        Material(role=role, source=sources[role], source_id=Source.of(sources[role]).id, bytes=1, sha256=value)
        for role, value in digests.items()
    ]
    report["engine"] = Engine(
        path=str(output_dir / "1" / "model.plan"),
        bytes=len(PLAN_BYTES),
        sha256=digest(PLAN_BYTES),
        header={"format": "tensorrt", "version": "10.3.0.26"},
    )
    report["identity"], report["build_key"] = fields, build_key(fields)
    report["builder"] = {"workspace_bytes": None, "optimization_level": 3, "flags": ["TF32"]}
    report["profiles"] = [{"x": ProfileShapes(min=[1, 3], opt=[1, 3], max=[1, 3])}]
    report["io"] = [_binding("x", "input", [1, 3]), _binding("y", "output", [1, 2])]
    report["stages"] = [
        StageResult(name="convert", status="done", started_at=1_795_454_858.25, seconds=1.25, peak_rss_bytes=1 << 20)
    ]
    report["runtime"] = runtime
    report["trtexec_command"] = "trtexec --onnx=a.onnx"
    return report


def _binding(name: str, mode: str, shape: list[int]) -> Binding:
    return Binding(name=name, mode=mode, dtype="float32", shape=shape, profiles=[], source="engine")


def lay_down(spec: ModelSpec, models_dir: Path, digests: dict[str, str], runtime: RuntimeInfo = RUNTIME) -> Path:
    """Write what a built model has in the models directory and return its directory."""
    output_dir = models_dir / spec.name
    (output_dir / "1").mkdir(parents=True)
    (output_dir / "1" / "model.plan").write_bytes(PLAN_BYTES)
    for name in ("config.pbtxt", "isaac_ros.yaml", "isaac_ros.launch.py", "provenance.json"):
        (output_dir / name).write_text("", encoding="utf-8")
    write_report(output_dir, dict(report_of(spec, output_dir, digests, runtime)))
    return output_dir


def write_report(output_dir: Path, report: dict[str, Any]) -> None:
    (output_dir / "report.json").write_text(json.dumps(report), encoding="utf-8")


def read_report(output_dir: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((output_dir / "report.json").read_text(encoding="utf-8"))
    return report
