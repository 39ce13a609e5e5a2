"""Running the rules: on an engine that was just built, and on a models directory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..contract.companions import CONFIG, DEEPSTREAM, PARAMETERS
from ..contract.report import ModelReport, WarningInfo, read
from ..errors import InspectError, StageError
from ..inspect.plan_file import read_record
from .deepstream import files as deepstream
from .model_files import Model
from .rules import CONSUMERS, ENGINE, FILES, ISAAC_ROS, RULES, TRITON, check
from .triton import pbtxt


def of_engine(report: ModelReport, directory: Path) -> List[WarningInfo]:
    """Return what an engine's consumers will object to; DeepStream is one of them where nvinfer can feed the engine."""
    nvinfer = deepstream.image_input(report["io"]) is not None
    consumers = CONSUMERS if nvinfer else (ISAAC_ROS, TRITON)
    return _findings(Model(directory, report), looks_at=(ENGINE,), consumers=consumers)


def of_directory(models_dir: Path, consumers: Tuple[str, ...]) -> Dict[str, Any]:
    """Return ``models``, each with its ``warnings``, or the ``error`` that stands in the way.

    Args:
        models_dir: the models directory.
        consumers: those whose rules count; none: Isaac ROS, Triton, and DeepStream for models with a deepstream.txt.
    """
    document: Dict[str, Any] = {"models_dir": str(models_dir), "models": [], "error": None}
    try:
        folders = _folders(models_dir)
        document["models"] = [_linted(folder, consumers) for folder in folders]
    except StageError as error:
        document["error"] = error.info("lint")
    except OSError as error:
        told = f"{error.filename or models_dir} can't be read: {error.strerror}"
        unreadable = InspectError("source-unreadable", told, hint="check the path, and give this user read access")
        document["error"] = unreadable.info("lint")
    return document


def _folders(models_dir: Path) -> List[Path]:
    if not models_dir.is_dir():
        raise InspectError(
            "source-not-found", f"{models_dir} is no directory", hint="give the directory that run wrote"
        )
    folders = sorted(path for path in models_dir.iterdir() if path.is_dir())
    if not folders:
        raise InspectError("source-not-a-model", f"{models_dir} holds no models", hint="give the directory run wrote")
    return folders


def _linted(folder: Path, consumers: Tuple[str, ...]) -> Dict[str, Any]:
    model = _model(folder)
    chosen = consumers or (CONSUMERS if model.nvinfer else (ISAAC_ROS, TRITON))
    return {"name": folder.name, "warnings": _findings(model, looks_at=(ENGINE, FILES), consumers=chosen)}


def _findings(model: Model, *, looks_at: Tuple[str, ...], consumers: Tuple[str, ...]) -> List[WarningInfo]:
    return [
        WarningInfo(code=code, message=message, hint=RULES[code].hint)
        for code, message in check(model, looks_at=looks_at, consumers=consumers)
    ]


def _model(folder: Path) -> Model:
    versions = {
        path.name: sorted(file.name for file in path.iterdir())
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name.isdigit()
    }
    plans = [folder / version / name for version, names in versions.items() for name in names if name == "model.plan"]
    record = next((found for found in map(read_record, plans) if found is not None), None)
    return Model(
        directory=folder,
        report=read(record) if record is not None else None,
        parameters=_parameters(folder / PARAMETERS),
        config=_config(folder / CONFIG),
        versions=versions,
        nvinfer=(folder / DEEPSTREAM).exists(),
    )


def _parameters(file: Path) -> Optional[Dict[str, Mapping[str, Any]]]:
    """Return the parameters of each node; none of what is not a parameter file."""
    if not file.exists():
        return None
    try:
        import yaml
    except ImportError as error:
        raise InspectError("module-missing", "linting needs the module yaml", hint="pip install pyyaml") from error
    with contextlib.suppress(ValueError, yaml.YAMLError):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(document, dict):
            return {
                str(node): entry["ros__parameters"]
                for node, entry in document.items()
                if isinstance(entry, dict) and isinstance(entry.get("ros__parameters"), dict)
            }
    return {}


def _config(file: Path) -> Optional[Mapping[str, Any]]:
    try:
        return pbtxt.parse(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
