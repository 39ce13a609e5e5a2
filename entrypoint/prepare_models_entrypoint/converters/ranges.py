"""What samples show of a model before its graph is rewritten for a strongly typed backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from .request import BuildRequest

if TYPE_CHECKING:
    from ..onnx_graph.findings import Findings

_REWRITTEN = ("fp16", "bf16", "int8")


def measured(request: BuildRequest, progress: Callable[[str, int, int], None]) -> "Optional[Findings]":
    """Return what samples show, None where nothing is to be rewritten to fp16 or bf16, or nothing can be measured."""
    if request.model.precision not in _REWRITTEN:
        return None
    from ..verify import analysis

    return analysis.find(request.model, Path(request.source), lambda phase: progress(phase, 0, 0))
