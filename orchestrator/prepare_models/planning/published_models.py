"""Engines that runs have left in a models directory, with their records."""

from __future__ import annotations

from pathlib import Path

from prepare_models_entrypoint.contract.job import ModelJob
from prepare_models_entrypoint.contract.report import ModelReport, read_record

from ..manifest.model import ModelSpec


def records(models_dir: Path) -> dict[str, ModelReport]:
    """Return the records of the engines in a models directory by model name, sorted."""
    found = {folder.name: read_record(folder) for folder in sorted(models_dir.iterdir()) if folder.is_dir()}
    return {name: record for name, record in found.items() if record is not None and record["engine"] is not None}


def spec_of(record: ModelReport) -> ModelSpec:
    """Return the manifest entry that an engine was built from; keys and passwords are missing in records."""
    identity = record["identity"] or {}
    sources = {material["role"]: material for material in record["materials"]}
    model, cache, verification = sources["model"], sources.get("calibration_cache"), record["verification"]
    job = ModelJob.from_dict(
        {
            "name": record["name"],
            "source": model["source"],
            "output_dir": "",
            "deploy_dir": "",
            "sha256": model["sha256"],
            "precision": identity["precision"],
            "calibration_cache": cache["source"] if cache else None,
            "inputs": identity["inputs"],
            "builder": identity["builder"],
            "converter": record["converter"],
            **{key: value for key, value in identity["conversion"].items() if key != "samples"},
            "calibration": None,
            "verify": verification["settings"] if verification else None,
        }
    )
    return ModelSpec(**job.shared(), name=job.name, source=job.source, line=0)
