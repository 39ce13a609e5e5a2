"""What an engine is made from and for. Equal build keys stand for equal engines; paths, names and times don't count."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Mapping, Optional

from .job import ModelJob
from .report import RuntimeInfo

# Fields of an identity, each with the words in which a change of it is told.
LABELS = {
    "model_sha256": "model",
    "calibration_sha256": "calibration",
    "precision": "precision",
    "converter": "converter",
    "inputs": "input shapes",
    "builder": "builder configuration",
    "conversion": "conversion options",
    "backend": "backend",
    "backend_version": "backend version",
    "target": "target",
}


def identity(
    job: ModelJob, runtime: RuntimeInfo, *, model_sha256: str, calibration_sha256: Optional[str]
) -> Dict[str, Any]:
    """Return the fields that decide the bytes of an engine.

    Args:
        job: what the manifest asks.
        runtime: backend and GPU that build.
        model_sha256: digest of the model file, before any decryption.
        calibration_sha256: digest of the calibration cache, or of the samples that one is made from; None without.
    """
    backend = runtime["backend"]
    return {
        "model_sha256": model_sha256,
        "calibration_sha256": calibration_sha256,
        "precision": job.precision,
        "converter": job.converter,
        "inputs": {name: shapes.to_dict() for name, shapes in sorted(job.inputs.items())},
        "builder": job.builder.to_dict(),
        "conversion": _conversion(job),
        "backend": backend["name"] if backend else None,
        "backend_version": backend["version"] if backend else None,
        "target": target(runtime),
    }


def _conversion(job: ModelJob) -> Dict[str, Any]:
    conversion = job.conversion()
    if conversion["calibration"] is not None:
        del conversion["calibration"]["images"]  # a path; the samples in it count by their bytes
    return conversion


def target(runtime: RuntimeInfo) -> Optional[str]:
    """Name what the engine is built for: a GPU, or the portable set of TensorRT-RTX. None where that isn't known."""
    backend, gpu = runtime["backend"], runtime["gpu"]
    if backend and backend["name"] == "tensorrt_rtx":
        return "portable"
    return f"{gpu['name']} (compute capability {gpu['compute_capability']})" if gpu else None


def build_key(fields: Mapping[str, Any]) -> str:
    """Return the sha256 of an identity, in hexadecimal digits."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> List[str]:
    """Tell in words what differs between two identities, in the order of the fields."""
    return [
        f"{label} {_short(old.get(name))} -> {_short(new.get(name))}"
        for name, label in LABELS.items()
        if old.get(name) != new.get(name)
    ]


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return value if isinstance(value, str) else json.dumps(value)
