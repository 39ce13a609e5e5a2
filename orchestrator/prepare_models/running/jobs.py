"""What the entrypoint is asked for a model of the manifest."""

from __future__ import annotations

from pathlib import Path

from prepare_models_entrypoint.contract.job import ModelJob

from ..manifest.model import ModelSpec
from ..support import paths


def model_job(
    spec: ModelSpec, *, output_dir: Path, key_file: Path | None = None, timeout_s: float | None = None
) -> ModelJob:
    """Return what the entrypoint is asked for a model."""
    return ModelJob(
        name=spec.name,
        source=spec.source,
        output_dir=str(output_dir),
        deploy_dir=str(output_dir),
        sha256=spec.sha256,
        precision=spec.precision,
        key_file=str(key_file) if key_file else None,
        calibration_cache=spec.calibration_cache,
        calibration_sha256=spec.calibration_sha256,
        inputs=dict(spec.inputs),
        outputs=spec.outputs,
        builder=spec.builder,
        converter=spec.converter,
        timeout_s=timeout_s,
        profiles=spec.profiles,
        keep_fp32=spec.keep_fp32,
        allow_fallback=spec.allow_fallback,
        plugins=spec.plugins,
        onnx=spec.onnx,
        tao=spec.tao,
        calibration=spec.calibration,
        ros=spec.ros,
        verify=spec.verify,
        deployment=spec.deployment,
        origin=paths.origin(),
    )
