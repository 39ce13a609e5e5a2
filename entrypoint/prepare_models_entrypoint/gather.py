"""One Triton repository of engines built on several GPUs. Nothing is built here, and no engine is changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from .consumers.lint import model_folders
from .consumers.model_files import Model, read_model
from .consumers.triton import files
from .contract.companions import CONFIG, REPORT
from .contract.files import write_own
from .contract.report import Binding, ModelReport
from .contract.shared_files import share_file
from .errors import InspectError, StageError, outcome


@dataclass(frozen=True)
class _Built:
    """An engine with its record and the compute capability of the GPU that built it."""

    file: Path
    report: ModelReport
    capability: str

    @property
    def name(self) -> str:
        """Return the engine's name in the repository."""
        return f"sm{self.capability.replace('.', '')}.plan"

    @property
    def io(self) -> List[Binding]:
        """Return the bindings, without where they came from."""
        bindings: List[Binding] = []
        for binding in self.report["io"]:
            found = binding.copy()
            found["source"] = ""
            bindings.append(found)
        return bindings


def gather(sources: Sequence[Path], repository: Path) -> Dict[str, Any]:
    """Return ``models``, each with the ``engines`` by compute capability, or the ``error``.

    Each model gets one version with an engine for each GPU, their records, and a config.pbtxt whose cc_model_filenames
    names them. Other GPUs find no engine.

    Args:
        sources: models directories, one per machine.
        repository: the directory to write; other models in it stay.
    """
    document: Dict[str, Any] = {"repository": str(repository), "models": [], "error": None}
    found: Dict[str, List[Model]] = {}
    try:
        for source in sources:
            for folder in model_folders(source):
                found.setdefault(folder.name, []).append(read_model(folder))
    except StageError as error:
        return {**document, "error": error.info("gather")}
    document["models"] = [_gathered(name, models, repository / name) for name, models in sorted(found.items())]
    return document


def _gathered(name: str, models: Sequence[Model], target: Path) -> Dict[str, Any]:
    document: Dict[str, Any] = {"name": name, "engines": {}}

    def work() -> None:
        engines = _by_capability([_built(model) for model in models])
        _write(name, engines, target)
        document["engines"] = {capability: engine.name for capability, engine in engines.items()}

    document["error"] = outcome(work, "gather")
    return document


def _built(model: Model) -> _Built:
    if not model.plans:
        raise InspectError(
            "engine-missing",
            f"{model.directory} has no engine with its report.json",
            hint="gather what run wrote; move other directories out of the models directory",
        )
    plan = model.plans[0]
    runtime = plan.report["runtime"]
    if runtime is None or runtime["gpu"] is None:
        raise InspectError(
            "engine-unusable",
            f"the record of {model.directory} names no GPU, so it is unknown which one loads its engine",
            hint="gather engines of the full TensorRT, which are built on their GPU",
        )
    return _Built(model.directory / plan.version / plan.file, plan.report, runtime["gpu"]["compute_capability"])


def _by_capability(built: Sequence[_Built]) -> Dict[str, _Built]:
    """Return engines by compute capability; refuse two for the same one, and those that can't share a configuration."""
    engines: Dict[str, _Built] = {}
    for engine in built:
        other = engines.setdefault(engine.capability, engine)
        if other.report["engine"] != engine.report["engine"] and other is not engine:
            text = f"{other.file} and {engine.file} are both for compute capability {engine.capability}"
            raise InspectError("engine-unusable", text, hint="gather one directory for each kind of GPU")
        if engine.io != built[0].io:
            text = f"inputs and outputs of {built[0].file} and {engine.file} differ"
            raise InspectError("engine-unusable", text, hint="build both from one manifest with one TensorRT version")
    return engines


def _write(name: str, engines: Mapping[str, _Built], target: Path) -> None:
    first = next(iter(engines.values())).report
    text = files.config(
        name, first["io"], warmup=first["deployment"]["warmup"],
        by_capability={capability: engine.name for capability, engine in engines.items()},
    )  # fmt: skip
    (target / "1").mkdir(parents=True, exist_ok=True)
    for engine in engines.values():
        share_file(engine.file, target / "1" / engine.name, link=False)
        record = json.dumps(engine.report, indent=2) + "\n"
        write_own(target / "1" / f"{engine.name}.{REPORT}", record.encode("utf-8"))
    write_own(target / CONFIG, text.encode("utf-8"))
