"""What a run would do, as a document: the actions, the converters, and what is known against the TensorRT here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prepare_models_entrypoint.contract import known_faults
from prepare_models_entrypoint.contract.environment import RuntimeInfo
from prepare_models_entrypoint.contract.identity import Change
from prepare_models_entrypoint.contract.report import WarningInfo

from ..executors.executor import Executor
from ..manifest.model import ModelSpec
from ..store import open_store
from ..support.file_digests import open_digests
from . import planner
from .planner import PlannedModel


@dataclass(frozen=True)
class ModelPlan:
    """What would be done for one model.

    action: ``build``, ``rebuild``, ``restore`` or ``up-to-date``. reason: why, in words; changes: the same as data.
    converter: None where none fits, and ``converter_reason`` says why.
    """

    name: str
    action: str
    reason: str
    changes: Sequence[Change]
    converter: str | None
    converter_reason: str

    def told(self) -> str:
        """Return the decision as a sentence: ``up-to-date``, or ``rebuild because: ...``."""
        return planner.decision(self.action, self.reason)


@dataclass(frozen=True)
class Plan:
    """What a run would do. ``runtime``: backend and GPU that it would build with."""

    executor: str
    runtime: RuntimeInfo
    models: Sequence[ModelPlan]
    warnings: Sequence[WarningInfo]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        models = [{**vars(model), "changes": list(model.changes)} for model in self.models]
        return {**vars(self), "models": models, "warnings": list(self.warnings)}


def make(specs: Iterable[ModelSpec], executor: Executor, models_dir: Path, *, force: bool) -> Plan:
    """Return what a run of these models would do. Changes nothing but what is remembered of files."""
    runtime, digests = executor.describe(), open_digests()
    plans = planner.Planner(models_dir, runtime, open_store(digests), digests, force)
    planned = [plans.plan(spec) for spec in specs]
    digests.save()
    models = tuple(_model(model, runtime) for model in planned)
    return Plan(executor.name, runtime, models, tuple(_warnings(planned, runtime)))


def _model(model: PlannedModel, runtime: RuntimeInfo) -> ModelPlan:
    choice = planner.converter(model.spec, runtime)
    return ModelPlan(model.spec.name, model.action, model.reason, tuple(model.changes), choice.converter, choice.reason)


def _warnings(planned: Sequence[PlannedModel], runtime: RuntimeInfo) -> list[WarningInfo]:
    """Return what is known against the TensorRT of the builds to come, each once."""
    builds = [model.spec for model in planned if model.action in (planner.BUILD, planner.REBUILD)]
    found = [each for spec in builds for each in known_faults.of_build(spec.job(Path()), runtime)]
    return list({each["message"]: each for each in found}.values())
