"""Engines that were built elsewhere get their places in a models directory, by the entrypoint's hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prepare_models_entrypoint.contract.report import ErrorInfo, ModelReport

from ..errors import HostError
from . import child


def publish(files: Mapping[str, Path], report: ModelReport, output_dir: Path) -> ErrorInfo | None:
    """Give a model an engine that was built elsewhere; return the error, if there is one.

    Args:
        files: the plan and the companions of its build that are kept, by their final names.
        report: its report.
        output_dir: directory of the model.
    """
    request = {
        "files": {name: str(file) for name, file in files.items()},
        "report": report,
        "output_dir": str(output_dir),
        "deploy_dir": str(output_dir),
    }
    try:
        error: ErrorInfo | None = child.ask("restore", "/dev/stdin", request=request)["error"]
    except HostError as problem:
        return child.entrypoint_failed(problem.message, hint=child.AGAIN)
    return error
