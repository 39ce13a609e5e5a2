"""Running the rules on an engine that was just built, and on a models directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from ..contract.report import ModelReport, WarningInfo
from ..errors import InspectError, StageError
from .consumer import ENGINE, FILES
from .model_files import Model, read_model
from .registry import Chosen, choose


def of_engine(report: ModelReport, directory: Path, consumers: Sequence[str] = ()) -> List[WarningInfo]:
    """Return warnings about what an engine's consumers will object to. ``consumers``: those that the manifest names."""
    model = Model(directory, report, published=False)
    return [finding for finding, note in _findings(model, consumers, (ENGINE,)) if not note]


def of_directory(models_dir: Path, consumers: Sequence[str]) -> Dict[str, Any]:
    """Return ``models``, each with its ``warnings`` and ``notes``, or the ``error``.

    ``consumers``: those whose rules to apply, such as isaac-ros@5.0; empty: those that a model's record names, else
    Isaac ROS, Triton, and DeepStream for models with a deepstream.txt.
    """
    document: Dict[str, Any] = {"models_dir": str(models_dir), "models": [], "error": None}
    try:
        choose(consumers)
        document["models"] = [_linted(folder, consumers) for folder in model_folders(models_dir)]
    except StageError as error:
        document["error"] = error.info("lint")
    except OSError as error:
        text = f"{error.filename or models_dir} can't be read: {error.strerror}"
        unreadable = InspectError("source-unreadable", text, hint="check the path, and give this user read access")
        document["error"] = unreadable.info("lint")
    return document


def model_folders(models_dir: Path) -> List[Path]:
    """Return the model directories in a models directory.

    Raises:
        InspectError: it doesn't exist.
    """
    if not models_dir.is_dir():
        raise InspectError("source-not-found", f"{models_dir} is not a directory", hint="give the directory of a run")
    folders = sorted(path for path in models_dir.iterdir() if path.is_dir())
    if not folders:
        why = ": its last run built none" if (models_dir / "report.json").is_file() else ""
        hint = f"build some, or see why none was built: prepare-models report render {models_dir} --format markdown"
        raise InspectError(
            "source-not-a-model",
            f"{models_dir} holds no models{why}",
            hint=hint if why else "give the directory of a run",
        )
    return folders


def _linted(folder: Path, names: Sequence[str]) -> Dict[str, Any]:
    model = read_model(folder)
    found = _findings(model, names, (ENGINE, FILES))
    return {
        "name": folder.name,
        "consumers": [consumer.label(release) for consumer, release in _chosen(model, names)],
        "warnings": [finding for finding, note in found if not note],
        "notes": [finding for finding, note in found if note],
    }


def _chosen(model: Model, names: Sequence[str]) -> Chosen:
    named = names or (model.report["deployment"]["consumers"] if model.report else ())
    chosen = choose(named)
    return chosen if named else [(consumer, release) for consumer, release in chosen if consumer.concerns(model)]


def _findings(model: Model, names: Sequence[str], looks_at: Sequence[str]) -> List[Tuple[WarningInfo, bool]]:
    return [
        finding
        for consumer, release in _chosen(model, names)
        for finding in consumer.findings(model, release, looks_at)
    ]
