"""fp8 from NVIDIA Model Optimizer, for backends that take precision from the graph.

It is a separate extra (``modelopt``) because it depends on PyTorch. It works on files and may change its input, so it
gets a copy in the private work directory.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from onnx import ModelProto

from ..contract import extras
from ..contract.job import ModelJob
from ..contract.verification import CalibrationConfig
from ..errors import ConvertError
from . import calibrate, model_file, sample_files


def check() -> None:
    """Refuse fp8 if Model Optimizer is not installed; it isn't imported, as that takes seconds."""
    if importlib.util.find_spec("modelopt") is None:
        raise _missing("no module named modelopt")


def to_fp8(model: ModelProto, job: ModelJob, work_dir: Path) -> ModelProto:
    """Return the model with fp8 Q/DQ nodes, whose scales come from the samples of ``calibration:``."""
    try:
        quantization = importlib.import_module("modelopt.onnx.quantization")
    except ImportError as error:
        raise _missing(str(error)) from error
    copy, output = (work_dir / f"rewritten.onnx.{name}.onnx" for name in ("copy", "fp8"))
    model_file.save(model, copy)
    quantization.quantize(
        str(copy),
        quantize_mode="fp8",
        calibration_data=_samples(model, job),
        calibration_eps=["cpu"],
        nodes_to_exclude=[fnmatch.translate(pattern) for pattern in job.kept_patterns],
        high_precision_dtype="fp32" if job.builder.int8_remainder == "fp32" else "fp16",
        output_path=str(output),
        log_level="WARNING",
    )
    return model_file.load(output)


def _missing(why: str) -> ConvertError:
    return ConvertError(
        "precision-unavailable",
        f"this backend takes fp8 from the graph, and NVIDIA Model Optimizer, which rewrites it, is not usable: {why}",
        hint=f"{extras.install('modelopt')} (several gigabytes, with PyTorch), or use fp16 or int8",
    )


def _samples(model: ModelProto, job: ModelJob) -> Any:
    import numpy as np

    config = job.calibration or CalibrationConfig(images="")
    inputs = calibrate.inputs_of(model, job)
    feeds = list(sample_files.feeds(sample_files.files(config), config, inputs))
    return {each.name: np.concatenate([feed[each.name] for feed in feeds]) for each in inputs}
