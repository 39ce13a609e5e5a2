"""What a verification needs, checked before a build that may take an hour."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Iterable

from ..contract.job import ModelJob
from ..contract.verification import VerifyConfig
from ..errors import VerifyError, missing
from ..onnx_graph import equivalence


def check(job: ModelJob, source: Path) -> None:
    """Refuse a verification that can't run.

    Args:
        job: the model, with ``verify``.
        source: its plain ONNX file.

    Raises:
        VerifyError: a module is missing, the samples don't fit, or thresholds name outputs that the model lacks.
    """
    check_modules()
    config = job.judged or VerifyConfig()
    if importlib.util.find_spec("onnx") is None:
        return  # missing in images with the full TensorRT
    from ..onnx_graph.typed_model import as_asked
    from . import analysis, samples

    model = as_asked(job, source)
    check_outputs(config, [value.name for value in model.graph.output])
    next(samples.feeds(config, analysis.inputs_of(model, job))[1])


def check_modules() -> None:
    """Refuse to verify without ONNX Runtime."""
    if not equivalence.available():
        raise missing(VerifyError, "verifying", "verify", "onnxruntime")


def check_outputs(config: VerifyConfig, outputs: Iterable[str]) -> None:
    """Refuse thresholds for outputs that the model lacks."""
    known = list(outputs)
    unknown = sorted(set(config.outputs) - set(known))
    if unknown:
        raise VerifyError(
            "outputs-mismatch",
            f"verify: the model has no output {', '.join(unknown)}",
            hint=f"its outputs: {', '.join(known)}",
        )
