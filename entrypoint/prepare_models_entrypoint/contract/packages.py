"""Python packages that change a network before it reaches the builder: their versions are part of the build key."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Dict, Optional, Sequence, Set

from .backends import chooses_by_flags
from .conversion import OnnxConfig
from .converters import kind_of
from .precision import AUTO

if TYPE_CHECKING:
    from .job import ModelJob

# Each package and the distributions that may contain it.
PACKAGES = {
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime_gpu"),
    "onnx-graphsurgeon": ("onnx_graphsurgeon",),
    "polygraphy": ("polygraphy",),
    "nvidia-modelopt": ("nvidia_modelopt",),
    "pillow": ("pillow",),
}
_INSTALLED = r"(?P<name>[A-Za-z0-9_.-]+?)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info"


def installed(places: Optional[Sequence[str]] = None) -> Dict[str, str]:
    """Return the versions of these packages, from the names of their metadata.

    importlib.metadata would take ten times as long.

    ``places``: directories of packages, of which the first with a package counts; None for those of this interpreter.
    """
    names = {carrier: package for package, carriers in PACKAGES.items() for carrier in carriers}
    found: Dict[str, str] = {}
    for place in sys.path if places is None else places:
        try:
            entries = os.listdir(place or ".")
        except OSError:
            continue
        for entry in entries:
            match = re.fullmatch(_INSTALLED, entry) if entry.endswith("-info") else None
            package = names.get(re.sub("[-.]", "_", match["name"]).lower()) if match else None
            if match and package:
                found.setdefault(package, match["version"])
    return found


def taking_part(job: ModelJob, *, converter: Optional[str], backend: Optional[str], version: Optional[str]) -> Set[str]:
    """Return the packages that may change a model on its way to the builder, without reading its bytes.

    ``converter``: None if nothing converts. ``backend``, ``version``: the TensorRT that builds.
    """
    if converter is None or kind_of(converter).encrypted:
        return set()
    found: Set[str] = set()
    if job.onnx != OnnxConfig():
        found = {"onnx", "onnx-graphsurgeon", "onnxruntime", "polygraphy"} if job.onnx.sanitize else {"onnx"}
    if job.calibration is not None and job.precision in ("int8", "fp8", AUTO):
        found |= {"onnx", "onnxruntime", "pillow"}
    if chooses_by_flags(backend, version) and not (converter == "api" and job.builder.strongly_typed):
        return found
    return found | _of_precision(job)


def _of_precision(job: ModelJob) -> Set[str]:
    """Return the packages that bring a precision into the graph. A model that already has it may need none of them."""
    scales = job.calibration_cache is not None or job.calibration is not None
    if job.precision in ("fp16", "bf16", AUTO) or (job.precision == "int8" and scales):
        halves = job.precision != "int8" or job.builder.int8_remainder != "fp32"
        measured = job.precision == AUTO or (job.keep_auto is not False and halves)
        return {"onnx", "onnxruntime"} if measured else {"onnx"}
    if job.precision == "fp8" and scales:
        return {"onnx", "nvidia-modelopt"}
    return set()
