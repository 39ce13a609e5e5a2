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
        **{**spec.shared(), "key_file": str(key_file) if key_file else None, "timeout_s": timeout_s},
        name=spec.name,
        source=spec.source,
        output_dir=str(output_dir),
        deploy_dir=str(output_dir),
        origin=paths.origin(),
    )
