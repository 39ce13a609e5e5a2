"""Rewriting the companions of engines for another place. Nothing is built, and no engine is touched."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Dict, Optional

from .consumers.lint import model_folders
from .consumers.model_files import Model, read_model
from .contract.companions import CONFIG, REPORT, is_provisioned
from .contract.deployment import Deployment
from .contract.files import write_all_own, write_own
from .contract.report import EDITED
from .errors import InspectError, StageError, outcome
from .publish import of_consumers


def relocate(models_dir: Path, deploy_dir: Optional[str]) -> Dict[str, object]:
    """Return ``models``, each with the ``files`` that were written, or the ``error``.

    config.pbtxt contains no paths and stays unchanged.

    Args:
        models_dir: the models directory.
        deploy_dir: the same directory as the consumers see it; None: the same path.
    """
    document: Dict[str, object] = {"models_dir": str(models_dir), "deploy_dir": deploy_dir, "models": [], "error": None}
    try:
        folders = model_folders(models_dir)
    except StageError as error:
        return {**document, "error": error.info("relocate")}
    document["models"] = [_relocated(read_model(folder), deploy_dir) for folder in folders]
    return document


def _relocated(model: Model, deploy_dir: Optional[str]) -> Dict[str, object]:
    document: Dict[str, object] = {"name": model.directory.name, "files": []}

    def work() -> None:
        document["files"] = _written(model, deploy_dir)

    document["error"] = outcome(work, "relocate")
    return document


def _written(model: Model, deploy_dir: Optional[str]) -> "list[str]":
    """Write the files and return their names."""
    report, directory = model.report, model.directory
    if report is None or report["engine"] is None or report["name"] != directory.name:
        raise InspectError(
            "engine-missing",
            f"{directory} has no engine with its report.json",
            hint="relocate what run wrote; move other directories out of the models directory",
        )
    if is_provisioned(directory):
        raise InspectError("directory-provisioned", f"{directory} has releases of prepare-models provision")
    deployment = dataclasses.replace(Deployment.of(report["deployment"]), deploy_dir=deploy_dir)
    report["deployment"].update(deployment.info())
    plan = model.plans[0]
    report["engine"]["path"] = str(directory.absolute() / plan.version / plan.file)
    try:
        texts = of_consumers(report, str(directory.absolute()))
    except EDITED as error:
        damaged = f"the record of {directory} is damaged: {type(error).__name__}"
        raise InspectError("engine-missing", damaged, hint="run again: it writes the record again") from error
    written = {name: text for name, text in texts.items() if text is not None and name != CONFIG}
    write_all_own(directory, {name: text.encode("utf-8") for name, text in written.items()})
    write_own(directory / REPORT, (json.dumps(report, indent=2) + "\n").encode("utf-8"))
    return sorted(written)
