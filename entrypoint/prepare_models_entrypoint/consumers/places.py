"""Where consumers see a model: paths in its companions, compared with its directory or that of its deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Optional

from ..contract.deployment import Deployment
from .model_files import Model


def directory(model: Model) -> PurePosixPath:
    """Return the model's directory as its consumers see it: the deploy directory in its record, or itself."""
    here = model.directory.absolute().as_posix()
    if model.report is None:
        return PurePosixPath(here)
    return PurePosixPath(Deployment.of(model.report["deployment"]).directory(model.directory.name, here))


def names_engine(model: Model, path: str) -> bool:
    """Return whether a path ends in the model's directory, one of its versions, and a file there."""
    parts = PurePosixPath(path).parts[-3:]
    if len(parts) < 3 or parts[0] != model.directory.name:
        return False
    return parts[2] in model.versions.get(parts[1], ()) if model.versions else parts[1:] == ("1", "model.plan")


def of_engine(model: Model, path: str) -> Model:
    """Return the model with the record of the engine that a path names, if another version has its own record."""
    plan = model.plan(*PurePosixPath(path).parts[-2:]) if names_engine(model, path) and model.plans else None
    return model if plan is None else replace(model, report=plan.report)


def elsewhere(model: Model, path: PurePosixPath) -> Optional[str]:
    """Return why a path to a model's directory is wrong, or None. Relative paths can't be checked.

    A path that is neither the directory nor that of its deployment is fine if it leads to such a directory here.
    """
    expected = directory(model)
    if not path.is_absolute() or path == expected:
        return None
    here = expected == PurePosixPath(model.directory.absolute().as_posix())
    if here and any((Path(str(path)) / version).is_dir() for version in model.versions):
        return None
    return f"{path}, which does not exist; the directory is {expected}" if here else f"{path}, not {expected}"
