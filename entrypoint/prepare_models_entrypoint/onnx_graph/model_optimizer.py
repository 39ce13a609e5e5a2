"""bf16 and fp8 for backends that take precision from the graph, by NVIDIA Model Optimizer.

An extra of its own (``modelopt``), because it brings PyTorch along. It works on files and may change its input, so it
gets a copy in the private work directory.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
from pathlib import Path
from typing import Any, Sequence

import onnx
from onnx import ModelProto

from ..contract.job import ModelJob
from ..errors import ConvertError
from . import calibrate, graph

_LOG_LEVEL = "WARNING"


_MODULES = {"bf16": "modelopt.onnx.autocast", "fp8": "modelopt.onnx.quantization"}


def check(precision: str) -> None:
    """Refuse a precision where Model Optimizer is not installed; it is not imported, which takes seconds."""
    if importlib.util.find_spec("modelopt") is None:
        raise _missing(precision, "no module named modelopt")


def to_bf16(model: ModelProto, work_dir: Path, *, keep_fp32: Sequence[str]) -> ModelProto:
    """Return the model with bfloat16 inner tensors; inputs and outputs keep their types.

    AutoCast's limits on values are those of float16 and are lifted: bfloat16 has the range of float32.
    """
    autocast = _module("bf16")
    copy = _copy(model, work_dir)
    converted: ModelProto = autocast.convert_to_mixed_precision(
        str(copy),
        low_precision_type="bf16",
        nodes_to_exclude=[fnmatch.translate(pattern) for pattern in keep_fp32],
        data_max=float("inf"),
        init_max=float("inf"),
        keep_io_types=True,
    )
    return converted


def to_fp8(model: ModelProto, job: ModelJob, work_dir: Path) -> ModelProto:
    """Return the model with fp8 Q/DQ nodes, whose scales come from the samples of ``calibration:``."""
    quantization = _module("fp8")
    copy, output = _copy(model, work_dir), work_dir / "rewritten.onnx.fp8.onnx"
    quantization.quantize(
        str(copy),
        quantize_mode="fp8",
        calibration_data=_samples(model, job),
        calibration_eps=["cpu"],
        nodes_to_exclude=[fnmatch.translate(pattern) for pattern in job.keep_fp32],
        high_precision_dtype="fp32" if job.builder.int8_remainder == "fp32" else "fp16",
        output_path=str(output),
        log_level=_LOG_LEVEL,
    )
    return onnx.load(str(output))


def _module(precision: str) -> Any:
    try:
        return importlib.import_module(_MODULES[precision])
    except ImportError as error:
        raise _missing(precision, str(error)) from error


def _missing(precision: str, why: str) -> ConvertError:
    return ConvertError(
        "precision-unavailable",
        f"this backend takes {precision} from the graph, and NVIDIA Model Optimizer, which rewrites it, is not usable: "
        f"{why}",
        hint="pip install 'prepare-models[modelopt]' (several gigabytes, with PyTorch), or use fp16 or int8",
    )


def _copy(model: ModelProto, work_dir: Path) -> Path:
    copy = work_dir / "rewritten.onnx.copy.onnx"
    graph.save(model, copy)
    return copy


def _samples(model: ModelProto, job: ModelJob) -> Any:
    import numpy as np

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if job.calibration is None or len(inputs) != 1:
        raise ConvertError(
            "calibration-samples-unusable",
            f"the model has {len(inputs)} inputs; calibration from samples feeds one",
            hint="give a model with Q/DQ nodes, made with your own tool",
        )
    shape = [dim.dim_value or 1 for dim in inputs[0].type.tensor_type.shape.dim]
    arrays = [calibrate.tensor(file, job.calibration, shape) for file in calibrate.samples(job.calibration)]
    return {inputs[0].name: np.concatenate(arrays)}
